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
mod tests {
    use std::time::Duration;

    use super::*;
    use tidings_event::{TokenId, UserId};

    fn user(id: &str) -> Option<UserKey> {
        UserId::parse(id).ok().map(|user| user.key())
    }

    fn token(id: &str) -> Option<TokenKey> {
        TokenId::parse(id).ok().map(|token| token.key())
    }

    fn keys(user_id: &str, token_id: &str) -> Keys {
        Keys { user: user(user_id), token: token(token_id) }
    }

    fn of_user(id: &str, workspace: Option<&str>) -> Selector {
        let workspace = workspace.map(|id| WorkspaceId::parse(id).unwrap());
        Selector { user: user(id), workspace, ..Selector::default() }
    }

    /// A ban rejects the clients that it names until it ends.
    #[test]
    fn ban_applies_to_its_clients_until_it_ends() {
        let (bans, now) = (Bans::default(), SystemTime::now());
        let minute = now + Duration::from_secs(60);
        let (acme, other) = (WorkspaceId::parse("acme").unwrap(), WorkspaceId::parse("other").unwrap());
        assert_eq!(bans.until(&acme, keys("ann", "t"), now), None);

        assert!(bans.add(&of_user("ann", Some("acme")), minute, now));
        assert_eq!(bans.until(&acme, keys("ann", "t"), now), Some(minute));
        assert_eq!(bans.until(&other, keys("ann", "t"), now), None);
        assert_eq!(bans.until(&acme, keys("ben", "t"), now), None);
        assert_eq!(bans.until(&acme, Keys::default(), now), None);
        assert_eq!(bans.until(&acme, keys("ann", "t"), minute), None);

        let later = minute + Duration::from_secs(1);
        assert!(bans.add(&of_user("ann", Some("acme")), later, now));
        assert!(bans.add(&of_user("ann", Some("acme")), now, now), "a shorter one does not shorten it");
        assert_eq!(bans.until(&acme, keys("ann", "t"), now), Some(later));

        let stolen = Selector { token: token("stolen"), ..Selector::default() };
        assert!(bans.add(&stolen, minute, now));
        assert_eq!(bans.until(&other, keys("ben", "stolen"), now), Some(minute));

        let closed = Selector { workspace: Some(other.clone()), ..Selector::default() };
        assert!(bans.add(&closed, minute, now));
        assert_eq!(bans.until(&other, Keys::default(), now), Some(minute));

        bans.tidy(later);
        assert_eq!(bans.0.lock().count, 0);
        assert!(bans.0.lock().by_name.is_empty());
    }

    #[test]
    fn ban_that_ends_first_is_removed_beyond_the_limit() {
        let (bans, now) = (Bans::default(), SystemTime::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for number in 0..BANS_MAX as u64 {
            assert!(bans.add(&of_user(&number.to_string(), None), at(1000 + number), now));
        }
        assert!(!bans.add(&of_user("more", None), at(500_000), now), "a ban was removed early");
        let acme = WorkspaceId::parse("acme").unwrap();
        assert_eq!(bans.until(&acme, keys("0", "t"), now), None);
        assert_eq!(bans.until(&acme, keys("1", "t"), now), Some(at(1001)));
        assert_eq!(bans.until(&acme, keys("more", "t"), now), Some(at(500_000)));
        assert!(bans.add(&of_user("again", None), at(500_000), at(1001)), "ended bans are removed first");
    }
}
