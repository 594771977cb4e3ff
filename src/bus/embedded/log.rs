//! The logs of the embedded bus: one for each workspace that was published to durably.
//!
//! A log knows its last id and keeps no entries: nothing reads them yet.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::EntryId;
use crate::workspace::WorkspaceId;

/// The most logs that are kept. One costs some 200 bytes, so this is about 13 MB.
const LOGS_MAX: usize = 65_536;

/// All logs. Ids rise over all of them together, so that they keep rising in a log that was forgotten meanwhile.
#[derive(Debug, Default)]
pub(super) struct Logs {
    last: EntryId,
    logs: HashMap<WorkspaceId, Log>,
}

/// One workspace's log.
#[derive(Debug, Default)]
struct Log {
    last: EntryId,
}

/// Where an event came to stand in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Appended {
    /// Its id.
    pub(super) id: EntryId,
    /// The id of the entry before it; [`EntryId::ZERO`] where none is known.
    pub(super) previous: EntryId,
}

impl Logs {
    /// Takes an event into a workspace's log. `now` may go back; ids never do.
    pub(super) fn append(&mut self, workspace: &WorkspaceId, now: SystemTime) -> Appended {
        let id = next_id(self.last, now);
        self.last = id;
        if let Some(log) = self.logs.get_mut(workspace) {
            return log.append(id);
        }
        if self.logs.len() >= LOGS_MAX {
            self.forget_older_half();
        }
        self.logs.entry(workspace.clone()).or_default().append(id)
    }

    /// Makes room. Whoever follows a forgotten workspace takes its next event, which names no event before it, for one
    /// behind a gap: that is told, not hidden.
    fn forget_older_half(&mut self) {
        let mut ids: Vec<EntryId> = self.logs.values().map(|log| log.last).collect();
        let half = ids.len() / 2;
        let (_, &mut median, _) = ids.select_nth_unstable(half);
        self.logs.retain(|_, log| log.last >= median);
    }
}

impl Log {
    fn append(&mut self, id: EntryId) -> Appended {
        Appended { id, previous: std::mem::replace(&mut self.last, id) }
    }
}

/// The id behind `last` at this time, as `XADD key *` draws it: the clock's millisecond, or where that is not beyond the
/// last id, the next number in the last id's millisecond.
fn next_id(last: EntryId, now: SystemTime) -> EntryId {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let milliseconds = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    if milliseconds > last.milliseconds {
        return EntryId { milliseconds, sequence: 0 };
    }
    match last.sequence.checked_add(1) {
        Some(sequence) => EntryId { milliseconds: last.milliseconds, sequence },
        None => EntryId { milliseconds: last.milliseconds.saturating_add(1), sequence: 0 },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    fn id(milliseconds: u64, sequence: u64) -> EntryId {
        EntryId { milliseconds, sequence }
    }

    #[test]
    fn ids_rise_also_when_the_clock_goes_back() {
        let mut logs = Logs::default();
        let workspace = WorkspaceId::parse("a").unwrap();
        let ids: Vec<Appended> =
            [5, 5, 3, 6, 0].into_iter().map(|now| logs.append(&workspace, at(now))).collect();
        let expected = [id(5, 0), id(5, 1), id(5, 2), id(6, 0), id(6, 1)];
        assert_eq!(ids.iter().map(|appended| appended.id).collect::<Vec<_>>(), expected);
        assert_eq!(ids[0].previous, EntryId::ZERO);
        assert!(ids.windows(2).all(|pair| pair[1].previous == pair[0].id));
    }

    #[test]
    fn each_workspace_has_its_own_chain() {
        let mut logs = Logs::default();
        let [a, b] = ["a", "b"].map(|text| WorkspaceId::parse(text).unwrap());
        let first = logs.append(&a, at(5));
        assert_eq!(logs.append(&b, at(5)).previous, EntryId::ZERO);
        assert_eq!(logs.append(&a, at(6)).previous, first.id);
    }

    #[test]
    fn a_full_millisecond_flows_over() {
        assert_eq!(next_id(id(7, u64::MAX), at(7)), id(8, 0));
    }

    #[test]
    fn the_number_of_logs_is_bounded_and_the_oldest_go() {
        let mut logs = Logs::default();
        let workspace = |number: usize| WorkspaceId::parse(&number.to_string()).unwrap();
        for number in 0..LOGS_MAX {
            logs.append(&workspace(number), at(number as u64));
        }
        let newest = logs.append(&workspace(LOGS_MAX - 1), at(0)).id;
        logs.append(&workspace(LOGS_MAX), at(0));
        assert!(logs.logs.len() <= LOGS_MAX / 2 + 1);
        assert_eq!(logs.append(&workspace(LOGS_MAX - 1), at(0)).previous, newest);
        let forgotten = logs.append(&workspace(0), at(0));
        assert_eq!(forgotten.previous, EntryId::ZERO);
        assert!(forgotten.id > newest);
    }
}
