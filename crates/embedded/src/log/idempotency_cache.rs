//! Publications that are made once, however often they are asked for.

use std::collections::HashMap;

use bytes::Bytes;

use super::beside::ExpiringValues;
use tidings_event::EntryId;

/// The time for which a publication is remembered, in milliseconds.
pub(super) const REMEMBERED_MILLISECONDS: u64 = 300_000;

/// The text between a log's name and an idempotency key. No workspace id holds a slash.
const MARK: &[u8] = b"/once/";

/// The memory of one besides its key and its ids.
const OVERHEAD: usize = 256;

/// The memory of remembered publications, in bytes. A publication beyond it is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdempotencyBounds {
    /// Those of one log.
    pub(crate) log: usize,
    /// Those of all logs.
    pub(crate) all: usize,
}

/// The memory for idempotency keys is full. No event was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeysFull {
    /// The log has as many as it may have.
    #[error(
        "the idempotency keys of the last five minutes of this workspace take embedded.idempotency_workspace_bytes: \
         publish again within five minutes, or without a key"
    )]
    Log,
    /// All logs together have as many as they may have.
    #[error(
        "the idempotency keys of the last five minutes take embedded.idempotency_bytes: publish again within five \
         minutes, or without a key"
    )]
    All,
}

/// The ids that publications were given, by log and idempotency key. None is forgotten before its
/// time.
#[derive(Debug)]
pub(crate) struct IdempotencyCache {
    bounds: IdempotencyBounds,
    known: ExpiringValues<Vec<EntryId>>,
    bytes: usize,
    /// The memory of the publications of each log, in bytes.
    logs: HashMap<Bytes, usize>,
}

/// The name under which a publication to a log is remembered; also on disk.
pub(super) fn name(log: &[u8], key: &[u8]) -> Bytes {
    Bytes::from([log, MARK, key].concat())
}

impl IdempotencyCache {
    /// Nothing is remembered.
    pub(super) fn new(bounds: IdempotencyBounds) -> Self {
        Self { bounds, known: ExpiringValues::default(), bytes: 0, logs: HashMap::new() }
    }

    /// The ids of the publication of this name, if it is remembered.
    pub(super) fn recall(&self, name: &[u8]) -> Option<&[EntryId]> {
        self.known.get(name).map(Vec::as_slice)
    }

    /// Whether a publication of so many events can be remembered.
    pub(super) fn room_for(&self, name: &[u8], events: usize) -> Result<(), KeysFull> {
        let weight = weight(name, events);
        let of_log = self.logs.get(log(name)).copied().unwrap_or(0);
        if of_log.saturating_add(weight) > self.bounds.log {
            return Err(KeysFull::Log);
        }
        if self.bytes.saturating_add(weight) > self.bounds.all {
            return Err(KeysFull::All);
        }
        Ok(())
    }

    /// Remembers a publication that is not remembered yet, also beyond the bounds: those on disk
    /// were taken under the bounds of their time.
    pub(super) fn remember(&mut self, name: &[u8], ids: Vec<EntryId>, until: u64) {
        let weight = weight(name, ids.len());
        self.bytes += weight;
        *self.logs.entry(Bytes::copy_from_slice(log(name))).or_default() += weight;
        self.known.put(name, ids, until);
    }

    /// Drops the keys that end at this time. Returns their names.
    pub(super) fn forget(&mut self, now: u64) -> Vec<Bytes> {
        let forgotten = self.known.forget(now);
        for (name, ids) in &forgotten {
            self.release(log(name), weight(name, ids.len()));
        }
        forgotten.into_iter().map(|(name, _)| name).collect()
    }

    fn release(&mut self, log: &[u8], weight: usize) {
        self.bytes -= weight;
        if let Some(of_log) = self.logs.get_mut(log) {
            *of_log -= weight;
            if *of_log == 0 {
                self.logs.remove(log);
            }
        }
    }
}

/// The log that a remembered publication went to.
fn log(name: &[u8]) -> &[u8] {
    let end = name.windows(MARK.len()).position(|part| part == MARK);
    &name[..end.unwrap_or(name.len())]
}

fn weight(name: &[u8], events: usize) -> usize {
    OVERHEAD + name.len() + events * size_of::<EntryId>()
}

#[cfg(test)]
mod tests;
