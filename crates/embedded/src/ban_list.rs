//! The commands with bans, for programs that list them. They end with the process, as the bans of
//! its node do.

use std::collections::VecDeque;
use std::time::SystemTime;

use bytes::Bytes;
use parking_lot::Mutex;

/// Limits the commands, each of which has at most 4 KiB. The oldest gives way.
const BANS_MAX: usize = 1_000;

/// The commands whose bans have not ended, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct BanList(Mutex<VecDeque<(Bytes, SystemTime)>>);

impl BanList {
    /// Adds a command with the end of its ban. The same command again changes the end.
    pub(crate) fn put(&self, command: Bytes, until: SystemTime, now: SystemTime) {
        let mut bans = self.0.lock();
        bans.retain(|(known, until)| *until > now && *known != command);
        if bans.len() >= BANS_MAX {
            bans.pop_front();
        }
        bans.push_back((command, until));
    }

    /// Returns all commands whose bans have not ended.
    pub(crate) fn list(&self, now: SystemTime) -> Vec<(Bytes, SystemTime)> {
        self.0.lock().iter().filter(|(_, until)| *until > now).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bans_end_and_the_oldest_gives_way() {
        let (bans, now) = (BanList::default(), SystemTime::UNIX_EPOCH);
        let at = |seconds| now + Duration::from_secs(seconds);
        bans.put(Bytes::from_static(b"first"), at(1), now);
        bans.put(Bytes::from_static(b"second"), at(2), now);
        assert_eq!(bans.list(at(1)), [(Bytes::from_static(b"second"), at(2))]);
        for number in 0..BANS_MAX {
            bans.put(Bytes::from(format!("more {number}")), at(3), now);
        }
        for _ in 0..BANS_MAX {
            bans.put(Bytes::from_static(b"more 0"), at(4), now);
        }
        let list = bans.list(now);
        assert_eq!((list.len(), &*list[0].0), (BANS_MAX, &b"more 1"[..]), "a repetition evicts none");
        assert_eq!(list.last(), Some(&(Bytes::from_static(b"more 0"), at(4))));
    }
}
