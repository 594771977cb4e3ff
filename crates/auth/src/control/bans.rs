//! Bans: clients that a node rejects until a time.

use std::collections::HashMap;
use std::time::SystemTime;

use parking_lot::Mutex;

use tidings_event::workspace::WorkspaceId;
use tidings_event::{Keys, TokenKey, UserKey};
use tidings_limits::Selector;

/// Limits the bans of a node. Beyond it, the ban that ends first is removed early, and the caller
/// logs it.
const BANS_MAX: usize = 100_000;

/// Stores the bans of a node. Each new request searches them, so they are indexed by their most
/// specific property.
#[derive(Debug, Default)]
pub struct Bans(Mutex<BanTable>);

#[derive(Debug, Default)]
struct BanTable {
    by_name: HashMap<Name, Vec<Ban>>,
    count: usize,
}

/// The most specific property of a ban, which indexes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Token(TokenKey),
    User(UserKey),
    Workspace(WorkspaceId),
}

#[derive(Debug)]
struct Ban {
    selector: Selector,
    until: SystemTime,
}

impl Bans {
    /// Adds a ban until a time. The same ban again extends the time and never shortens it. Returns
    /// false if another ban had to be removed early.
    pub fn add(&self, selector: &Selector, until: SystemTime, now: SystemTime) -> bool {
        let Some(name) = name(selector) else { return true };
        let mut table = self.0.lock();
        if let Some(known) = table
            .by_name
            .get_mut(&name)
            .and_then(|bans| bans.iter_mut().find(|ban| ban.selector == *selector))
        {
            known.until = known.until.max(until);
            return true;
        }
        let mut fits = true;
        if table.count >= BANS_MAX {
            table.drop_ended(now);
            if table.count >= BANS_MAX {
                table.drop_first_to_end();
                fits = false;
            }
        }
        table.by_name.entry(name).or_default().push(Ban { selector: selector.clone(), until });
        table.count += 1;
        fits
    }

    /// Returns the end of a client's ban for a workspace, if there is one.
    #[must_use]
    pub fn until(&self, workspace: &WorkspaceId, keys: Keys, now: SystemTime) -> Option<SystemTime> {
        let table = self.0.lock();
        if table.count == 0 {
            return None;
        }
        let names = [
            keys.token.map(Name::Token),
            keys.user.map(Name::User),
            Some(Name::Workspace(workspace.clone())),
        ];
        let bans = names.iter().flatten().filter_map(|name| table.by_name.get(name)).flatten();
        let current = bans.filter(|ban| ban.until > now && ban.selector.matches(workspace, keys, None));
        current.map(|ban| ban.until).max()
    }

    /// Removes the bans that have ended. Call it from time to time.
    pub fn tidy(&self, now: SystemTime) {
        self.0.lock().drop_ended(now);
    }
}

impl BanTable {
    fn drop_ended(&mut self, now: SystemTime) {
        self.by_name.retain(|_, bans| {
            bans.retain(|ban| ban.until > now);
            !bans.is_empty()
        });
        self.count = self.by_name.values().map(Vec::len).sum();
    }

    fn drop_first_to_end(&mut self) {
        let first = self.by_name.values().flatten().map(|ban| ban.until).min();
        if let Some(first) = first {
            self.drop_ended(first);
        }
    }
}

fn name(selector: &Selector) -> Option<Name> {
    let token = selector.token.map(Name::Token);
    let user = selector.user.map(Name::User);
    token.or(user).or_else(|| selector.workspace.clone().map(Name::Workspace))
}

#[cfg(test)]
mod tests;
