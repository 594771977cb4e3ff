//! The data beside each log: the record of its epoch and the mark of live events. Each is kept
//! until a time, with or without the log.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use tidings_event::EpochRecord;
use tidings_event::log::LiveMark;

/// The most records, and the most marks, at a time. Beyond it those that end first are dropped.
const KEPT_MAX: usize = 100_000;

/// Records and marks, by the key of their log.
#[derive(Debug, Default)]
pub(super) struct KeysBesideLog {
    records: ExpiringValues<EpochRecord>,
    marks: ExpiringValues<u64>,
    /// The latest mark that had to go before its time, which may be that of any log without one.
    forgotten: Option<u64>,
}

impl KeysBesideLog {
    pub(super) fn record(&self, log: &[u8]) -> Option<EpochRecord> {
        self.records.get(log).copied()
    }

    pub(super) fn live(&self, log: &[u8]) -> LiveMark {
        self.mark(log).max(self.forgotten).map_or(LiveMark::Absent, LiveMark::Until)
    }

    pub(super) fn mark(&self, log: &[u8]) -> Option<u64> {
        self.marks.get(log).copied()
    }

    /// Keeps a record until a time. Returns the logs whose records had to go for it.
    pub(super) fn put_record(&mut self, log: &[u8], record: EpochRecord, until: u64) -> Vec<Bytes> {
        self.records.put(log, record, until);
        names(self.records.shrink())
    }

    pub(super) fn remove_record(&mut self, log: &[u8]) {
        self.records.remove(log);
    }

    /// Keeps a mark until a time. Returns the logs whose marks had to go for it.
    pub(super) fn put_mark(&mut self, log: &[u8], mark: u64, until: u64) -> Vec<Bytes> {
        self.marks.put(log, mark, until);
        let gone = self.marks.shrink();
        self.forgotten = self.forgotten.max(gone.iter().map(|(_, mark)| *mark).max());
        names(gone)
    }

    /// Drops all that end by `now`. Returns the logs whose records ended, and those whose marks
    /// did.
    pub(super) fn forget(&mut self, now: u64) -> (Vec<Bytes>, Vec<Bytes>) {
        (names(self.records.forget(now)), names(self.marks.forget(now)))
    }
}

fn names<T>(values: Vec<(Bytes, T)>) -> Vec<Bytes> {
    values.into_iter().map(|(name, _)| name).collect()
}

/// Values by key, each until a time in milliseconds since the Unix epoch.
#[derive(Debug)]
pub(super) struct ExpiringValues<T> {
    values: HashMap<Bytes, (T, u64)>,
    ends: BTreeSet<(u64, Bytes)>,
}

impl<T> Default for ExpiringValues<T> {
    fn default() -> Self {
        Self { values: HashMap::new(), ends: BTreeSet::new() }
    }
}

impl<T> ExpiringValues<T> {
    pub(super) fn get(&self, key: &[u8]) -> Option<&T> {
        self.values.get(key).map(|(value, _)| value)
    }

    pub(super) fn put(&mut self, key: &[u8], value: T, until: u64) {
        // A copy: the key is a part of a whole input buffer and would keep all of it in memory.
        let key = Bytes::copy_from_slice(key);
        if let Some((_, former)) = self.values.insert(key.clone(), (value, until)) {
            self.ends.remove(&(former, key.clone()));
        }
        self.ends.insert((until, key));
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some((key, (_, until))) = self.values.remove_entry(key) {
            self.ends.remove(&(until, key));
        }
    }

    fn pop(&mut self) -> Option<(Bytes, T)> {
        let (_, key) = self.ends.pop_first()?;
        let (value, _) = self.values.remove(&key)?;
        Some((key, value))
    }

    /// Drops the values that end by `now`, and returns them.
    pub(super) fn forget(&mut self, now: u64) -> Vec<(Bytes, T)> {
        let mut forgotten = Vec::new();
        while self.ends.first().is_some_and(|(until, _)| *until <= now) {
            forgotten.extend(self.pop());
        }
        forgotten
    }

    fn shrink(&mut self) -> Vec<(Bytes, T)> {
        let surplus = self.values.len().saturating_sub(KEPT_MAX);
        (0..surplus).filter_map(|_| self.pop()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_event::{EntryId, Epoch};

    #[test]
    fn value_ends_at_its_time_and_can_be_renewed() {
        let mut beside = KeysBesideLog::default();
        let record = EpochRecord::not_begun(Epoch::random(), EntryId::ZERO);
        beside.put_record(b"a", record, 10);
        beside.put_record(b"a", record, 20);
        beside.put_mark(b"a", 7, 15);
        assert_eq!(beside.forget(14), (vec![], vec![]));
        assert_eq!((beside.record(b"a"), beside.live(b"a")), (Some(record), LiveMark::Until(7)));
        assert_eq!(beside.forget(15), (vec![], vec![Bytes::from_static(b"a")]));
        assert_eq!((beside.record(b"b"), beside.live(b"a")), (None, LiveMark::Absent));
        assert_eq!(beside.forget(20), (vec![Bytes::from_static(b"a")], vec![]));
    }

    #[test]
    fn evicted_mark_counts_for_all_logs() {
        let mut beside = KeysBesideLog::default();
        for number in 0..KEPT_MAX as u64 {
            assert!(beside.put_mark(number.to_string().as_bytes(), number, number).is_empty());
        }
        assert_eq!(beside.live(b"other"), LiveMark::Absent);
        assert_eq!(beside.put_mark(b"one more", 5_000_000, u64::MAX), [Bytes::from_static(b"0")]);
        assert_eq!(beside.live(b"other"), LiveMark::Until(0));
    }
}
