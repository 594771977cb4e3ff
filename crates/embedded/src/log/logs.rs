//! All logs: their ends, their memory, and their changes.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;

use super::beside::KeysBesideLog;
use super::change::{BesideKind, Header, LogChange};
use super::entry::{Fields, RequestedId, StreamEntry};
use super::idempotency_cache::{IdempotencyBounds, IdempotencyCache};
use super::stream::{Excess, LogStream};
use tidings_event::log::LiveMark;
use tidings_event::{EntryId, Epoch, EpochRecord};

/// The memory of a log besides its key and its entries.
const LOG_OVERHEAD: usize = 512;

/// The longest time for which the epoch of an empty log is kept, in milliseconds. Clients may open
/// any number of workspaces that never get an event.
const UNBORN_MILLISECONDS_MAX: u64 = 3_600_000;

/// The bounds of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// Without bounds of the writer: this many entries in each log,
    pub(crate) events: usize,
    /// for this long; a log without new entries is kept as long too,
    pub(crate) age: Duration,
    /// and in each log this many bytes, whatever a plain `XADD` says.
    pub(crate) bytes: usize,
    /// The memory of all logs, in bytes. Beyond it the log that is nearest to its end is removed
    /// first.
    pub(crate) memory: usize,
    /// The memory of remembered publications.
    pub(crate) idempotency_cache: IdempotencyBounds,
}

/// All logs, by key.
#[derive(Debug)]
pub(crate) struct Logs {
    settings: LogSettings,
    logs: HashMap<Bytes, Log>,
    /// The end of each log, in milliseconds since the Unix epoch.
    ends: BTreeSet<(u64, Bytes)>,
    memory: usize,
    /// The highest id of a log that is gone: a new one of its name begins behind it, whatever the
    /// clock says.
    floor: EntryId,
    /// Publications that were given an idempotency key.
    pub(super) idempotency_cache: IdempotencyCache,
    beside: KeysBesideLog,
    /// The time of the work at hand, in milliseconds since the Unix epoch.
    now: u64,
    changes: Option<Changes>,
    /// The bytes of the entries that were added since the last check of the memory.
    appended: usize,
}

#[derive(Debug, Default)]
struct Log {
    stream: LogStream,
    /// Its end, in milliseconds since the Unix epoch.
    ends: u64,
    /// Whether an `EXPIRE` set its end; otherwise it ends because no entry is added.
    is_set: bool,
    /// Its part of the memory of all logs, in bytes.
    memory: usize,
}

/// The changes since they were last taken.
#[derive(Debug, Default)]
struct Changes {
    list: Vec<LogChange>,
    /// Logs whose header changed, whatever of it.
    touched: HashSet<Bytes>,
}

/// The wanted id is not beyond the log's last, or there is none beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log has no id left")]
pub(crate) struct NoId;

impl Logs {
    /// No logs. `recording` keeps changes for [`Self::take_changes`].
    pub(crate) fn new(settings: LogSettings, recording: bool) -> Self {
        Self {
            settings,
            logs: HashMap::new(),
            ends: BTreeSet::new(),
            memory: 0,
            floor: EntryId::ZERO,
            idempotency_cache: IdempotencyCache::new(settings.idempotency_cache),
            beside: KeysBesideLog::default(),
            now: 0,
            changes: recording.then(Changes::default),
            appended: 0,
        }
    }

    /// Puts a log back that was stored.
    pub(crate) fn restore(&mut self, key: &[u8], header: Header, entries: VecDeque<StreamEntry>) {
        self.update(key, |log| {
            log.stream = LogStream::restore(entries, header.tally);
            (log.ends, log.is_set) = (header.ends, header.is_set);
        });
    }

    /// Puts a value beside a log back that was stored; `None` if it is not valid.
    pub(crate) fn restore_beside(&mut self, kind: u8, key: &[u8], value: &str, until: u64) -> Option<()> {
        if kind == BesideKind::Epoch as u8 {
            self.beside.put_record(key, value.parse().ok()?, until);
        } else if kind == BesideKind::Live as u8 {
            self.beside.put_mark(key, value.parse().ok()?, until);
        } else {
            let ids = value.split_whitespace().map(|id| id.parse().ok()).collect::<Option<_>>()?;
            self.idempotency_cache.remember(key, ids, until);
        }
        Some(())
    }

    /// The record of a log's epoch.
    pub(super) fn epoch(&self, log: &[u8]) -> Option<EpochRecord> {
        self.beside.record(log)
    }

    /// The mark of live events in a log's workspace.
    pub(super) fn live(&self, log: &[u8]) -> LiveMark {
        self.beside.live(log)
    }

    /// Keeps the record of a log's epoch for so many milliseconds.
    pub(super) fn keep_epoch(&mut self, log: &Bytes, record: EpochRecord, lifetime: u64) {
        let until = self.now.saturating_add(lifetime);
        let gone = self.beside.put_record(log, record, until);
        self.record_gone(BesideKind::Epoch, gone);
        self.record_beside(BesideKind::Epoch, log.clone(), Some((&record, until)));
    }

    /// Names the next epoch of a log that has no entries, unless that was done.
    pub(super) fn name_epoch(&mut self, log: &Bytes) {
        let record = self.beside.record(log);
        if record.is_none_or(|record| record.has_begun()) {
            let earlier = record.map_or(EntryId::ZERO, |record| record.last.max(record.earlier));
            let unborn = EpochRecord::not_begun(Epoch::random(), earlier);
            self.keep_epoch(log, unborn, self.idle().min(UNBORN_MILLISECONDS_MAX));
        }
    }

    /// Forgets the record of a log's epoch.
    pub(super) fn forget_epoch(&mut self, log: &Bytes) {
        self.beside.remove_record(log);
        self.record_beside(BesideKind::Epoch, log.clone(), None);
    }

    /// Marks a log's workspace as one that carries live events: for `slack` milliseconds from now,
    /// and beyond the newest entry. Returns the mark.
    pub(crate) fn mark_live(&mut self, log: &Bytes, slack: u64) -> u64 {
        let newest = self.get(log).and_then(LogStream::newest).map_or(0, |newest| newest.id.milliseconds);
        let mark = self.now.max(newest).saturating_add(slack).max(self.beside.mark(log).unwrap_or(0));
        let until = self.now.saturating_add(self.idle().saturating_mul(2));
        let gone = self.beside.put_mark(log, mark, until);
        self.record_gone(BesideKind::Live, gone);
        self.record_beside(BesideKind::Live, log.clone(), Some((&mark, until)));
        mark
    }

    /// The work from here on is of this time, in milliseconds since the Unix epoch. Logs that have
    /// ended are removed.
    pub(crate) fn begin(&mut self, now: u64) {
        self.now = now;
        while let Some((ends, key)) = self.ends.first()
            && *ends <= now
        {
            let key = key.clone();
            self.remove(&key);
        }
        let publications = self.idempotency_cache.forget(now);
        let (records, marks) = self.beside.forget(now);
        self.record_gone(BesideKind::Once, publications);
        self.record_gone(BesideKind::Epoch, records);
        self.record_gone(BesideKind::Live, marks);
    }

    /// Brings the memory that all logs take back within its bound.
    pub(crate) fn evict(&mut self) {
        self.appended = 0;
        while self.memory > self.settings.memory
            && let Some((_, key)) = self.ends.first()
        {
            let key = key.clone();
            if self.logs.len() > 1 {
                self.remove(&key);
                continue;
            }
            let half = self.get(&key).map_or(0, LogStream::len) / 2;
            if self.trim(&key, Excess::Entries(half)) == 0 {
                break;
            }
        }
    }

    /// The bytes of the entries that were added since the last check of the memory.
    pub(crate) fn appended_bytes(&self) -> usize {
        self.appended
    }

    /// Takes the changes since the last call, in order.
    pub(crate) fn take_changes(&mut self) -> Vec<LogChange> {
        let Some(changes) = &mut self.changes else { return Vec::new() };
        let Changes { mut list, touched } = std::mem::take(changes);
        list.extend(touched.into_iter().filter_map(|key| {
            let Log { stream, ends, is_set, .. } = self.logs.get(&key)?;
            let header = Header { tally: stream.tally(), ends: *ends, is_set: *is_set };
            Some(LogChange::Header { log: key, header })
        }));
        list
    }

    /// A log.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&LogStream> {
        self.logs.get(key).map(|log| &log.stream)
    }

    /// Adds an entry to a log, or creates the log.
    pub(crate) fn append(
        &mut self,
        key: &Bytes,
        requested_id: RequestedId,
        fields: Fields,
    ) -> Result<EntryId, NoId> {
        let id = self.id(key, requested_id)?;
        let entry = StreamEntry { id, fields };
        self.appended = self.appended.saturating_add(entry.memory());
        self.record(LogChange::Appended { log: key.clone(), entry: entry.clone() });
        let idle_ends = self.now.saturating_add(self.idle());
        self.update(key, |log| {
            log.stream.push(entry);
            if !log.is_set {
                log.ends = idle_ends;
            }
        });
        Ok(id)
    }

    /// The id that a new entry would get.
    pub(super) fn id(&self, key: &[u8], requested_id: RequestedId) -> Result<EntryId, NoId> {
        let last = match (self.get(key), requested_id) {
            (Some(stream), _) => stream.tally().last,
            (None, RequestedId::Any) => self.floor,
            (None, _) => EntryId::ZERO,
        };
        requested_id.behind(last, self.now).ok_or(NoId)
    }

    /// Removes the entries beyond a bound. Returns their number.
    pub(crate) fn trim(&mut self, key: &Bytes, excess: Excess) -> usize {
        if !self.logs.contains_key(key) {
            return 0;
        }
        let (removed, first) = self.update(key, |log| {
            let removed = log.stream.trim(excess);
            (removed, log.stream.first().map(|first| first.id))
        });
        if removed > 0 {
            self.record(LogChange::Trimmed { log: key.clone(), first });
        }
        removed
    }

    /// A log ends at this time and no other, in milliseconds since the Unix epoch. It is removed
    /// if that is over.
    pub(crate) fn expire(&mut self, key: &Bytes, at: u64) {
        if at <= self.now {
            self.remove(key);
        } else if self.logs.contains_key(key) {
            self.update(key, |log| (log.ends, log.is_set) = (at, true));
        }
    }

    /// The end that an `EXPIRE` set for a log; `None` without one.
    #[cfg(test)]
    pub(crate) fn expires(&self, key: &[u8]) -> Option<u64> {
        self.logs.get(key).filter(|log| log.is_set).map(|log| log.ends)
    }

    /// Removes a log. Returns whether there was one.
    pub(crate) fn remove(&mut self, key: &Bytes) -> bool {
        let Some(log) = self.logs.remove(key) else { return false };
        self.memory -= log.memory;
        self.ends.remove(&(log.ends, key.clone()));
        let last = log.stream.tally().last;
        // A client may have chosen an id of the far future; that must not become the time of all
        // logs.
        if last.milliseconds <= self.now {
            self.floor = self.floor.max(last);
        }
        self.record(LogChange::Removed { log: key.clone() });
        true
    }

    /// The time of the work at hand, in milliseconds since the Unix epoch.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// The bounds of logs.
    pub(crate) fn settings(&self) -> &LogSettings {
        &self.settings
    }

    /// Records a value beside a log for the disk, until a time; `None` if it is gone.
    pub(super) fn record_beside(&mut self, kind: BesideKind, key: Bytes, value: Option<(&dyn Display, u64)>) {
        if self.changes.is_some() {
            let value = value.map(|(value, until)| (value.to_string(), until));
            self.record(LogChange::Beside { kind, key, value });
        }
    }

    fn record_gone(&mut self, kind: BesideKind, keys: Vec<Bytes>) {
        keys.into_iter().for_each(|key| self.record_beside(kind, key, None));
    }

    /// Records a change for the disk.
    fn record(&mut self, change: LogChange) {
        if let Some(changes) = &mut self.changes {
            changes.list.push(change);
        }
    }

    /// Changes a log, or creates it, and updates the ends and the memory of all logs.
    fn update<T>(&mut self, key: &[u8], change: impl FnOnce(&mut Log) -> T) -> T {
        // A copy for a new log: the key is a part of a whole input buffer and would keep all of it
        // in memory.
        let known = self.logs.get_key_value(key).map(|(key, _)| key.clone());
        let key = known.unwrap_or_else(|| Bytes::copy_from_slice(key));
        let log = self.logs.entry(key.clone()).or_default();
        let ends = log.ends;
        let outcome = change(log);
        let memory = LOG_OVERHEAD + key.len() + log.stream.memory();
        self.memory = self.memory - log.memory + memory;
        log.memory = memory;
        if log.ends != ends {
            self.ends.remove(&(ends, key.clone()));
            self.ends.insert((log.ends, key.clone()));
        }
        if let Some(changes) = &mut self.changes {
            changes.touched.insert(key);
        }
        outcome
    }

    /// The milliseconds for which a log without new entries is kept.
    pub(super) fn idle(&self) -> u64 {
        u64::try_from(self.settings.age.as_millis()).unwrap_or(u64::MAX)
    }
}
