//! Sets whose members expire. On the embedded bus there is one node, so its memory is enough.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use tidings_bus::{MEMBER_BYTES_MAX, SET_BYTES_MAX, SetChange, SetMembers};

/// Limits the sets at a time. A node replies fewer questions within the lifetime of a reply.
const SETS_MAX: usize = 256;

/// Limits the members of a set. One node adds them, and it adds few.
const MEMBERS_MAX: usize = 16;

/// The sets by name. Each has its members with the time at which they expire.
#[derive(Debug, Default)]
pub(crate) struct SharedSets(Mutex<HashMap<String, Vec<(Bytes, Instant)>>>);

impl SharedSets {
    /// Changes a set. Returns whether the new member is kept.
    pub(crate) fn change(&self, name: &str, change: SetChange, now: Instant) -> bool {
        let mut sets = self.0.lock();
        if sets.len() >= SETS_MAX && !sets.contains_key(name) {
            return false;
        }
        let members = sets.entry(name.to_owned()).or_default();
        members.retain(|(member, until)| *until > now && *member != change.remove && *member != change.add);
        if !change.add.is_empty() {
            if members.len() >= MEMBERS_MAX {
                members.remove(0);
            }
            members.push((change.add, now + change.lifetime));
        }
        if members.is_empty() {
            sets.remove(name);
        }
        true
    }

    /// Returns the members of a set that have not expired.
    pub(crate) fn list(&self, name: &str, now: Instant) -> SetMembers {
        let mut list = SetMembers::default();
        let mut bytes = 0;
        for (member, _) in self.0.lock().get(name).into_iter().flatten().filter(|(_, until)| *until > now) {
            bytes += member.len();
            if member.len() > MEMBER_BYTES_MAX || bytes > SET_BYTES_MAX {
                list.left_out += 1;
            } else {
                list.members.push(member.clone());
            }
        }
        list
    }

    /// Drops the members that have expired.
    pub(crate) fn tidy(&self, now: Instant) {
        self.0.lock().retain(|_, members| {
            members.retain(|(_, until)| *until > now);
            !members.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn change(remove: &'static str, add: &'static str) -> SetChange {
        SetChange { remove: remove.into(), add: add.into(), lifetime: Duration::from_secs(1) }
    }

    #[test]
    fn member_is_replaced_and_expires() {
        let (sets, now) = (SharedSets::default(), Instant::now());
        let members = |now| sets.list("nodes", now).members;
        assert!(sets.change("nodes", change("", "a"), now));
        assert!(sets.change("nodes", change("", "b"), now));
        assert!(sets.change("nodes", change("a", "c"), now));
        assert_eq!(members(now), ["b", "c"]);
        assert!(sets.change("nodes", change("b", ""), now));
        assert_eq!(members(now), ["c"]);
        assert_eq!(members(now + Duration::from_secs(1)), Vec::<Bytes>::new());
        sets.tidy(now + Duration::from_secs(1));
        assert!(sets.0.lock().is_empty());
    }

    #[test]
    fn sets_and_members_are_bounded() {
        let (sets, now) = (SharedSets::default(), Instant::now());
        for number in 0..100 {
            let add = Bytes::from(number.to_string());
            sets.change(
                "a",
                SetChange { add, lifetime: Duration::from_secs(1), ..SetChange::default() },
                now,
            );
        }
        assert_eq!(sets.list("a", now).members.len(), MEMBERS_MAX);
        let large = SetChange {
            add: vec![b'x'; MEMBER_BYTES_MAX + 1].into(),
            lifetime: Duration::from_secs(1),
            ..SetChange::default()
        };
        sets.change("large", large, now);
        assert_eq!(sets.list("large", now), SetMembers { members: Vec::new(), left_out: 1 });
        for number in 2..SETS_MAX {
            assert!(sets.change(&number.to_string(), change("", "x"), now));
        }
        assert!(!sets.change("more", change("", "x"), now));
    }
}
