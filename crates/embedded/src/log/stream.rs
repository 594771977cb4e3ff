//! One log: a Redis Stream without consumer groups.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::entry::StreamEntry;
use tidings_event::EntryId;

/// Entries in the order of their ids, and the tally of removed ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogStream {
    entries: VecDeque<StreamEntry>,
    tally: StreamTally,
    payload_bytes: usize,
    memory: usize,
}

/// The tally of a log besides its entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StreamTally {
    /// The highest id that was ever given, [`EntryId::ZERO`] before the first.
    pub(crate) last: EntryId,
    /// The newest entry that is gone, if one is.
    pub(crate) lost: Option<EntryId>,
}

/// Which entries are too many. The oldest go first, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Those beyond this number.
    Entries(usize),
    /// Those before this id.
    Before(EntryId),
    /// Those before the oldest behind which there are not more than so many bytes of payload.
    Bytes(usize),
}

impl LogStream {
    /// Restores a log from its stored entries, in ascending order.
    pub(crate) fn restore(entries: VecDeque<StreamEntry>, tally: StreamTally) -> Self {
        let payload_bytes = entries.iter().map(StreamEntry::payload_bytes).sum();
        let memory = entries.iter().map(StreamEntry::memory).sum();
        Self { entries, tally, payload_bytes, memory }
    }

    /// Adds an entry whose id is beyond [`StreamTally::last`].
    pub(crate) fn push(&mut self, entry: StreamEntry) {
        debug_assert!(entry.id > self.tally.last, "ids rise");
        self.tally.last = entry.id;
        self.payload_bytes += entry.payload_bytes();
        self.memory += entry.memory();
        self.entries.push_back(entry);
    }

    /// Removes the entries beyond a bound. Returns their number.
    pub(crate) fn trim(&mut self, excess: Excess) -> usize {
        let mut removed = 0;
        while self.front_is(excess) {
            let Some(entry) = self.entries.pop_front() else { break };
            self.payload_bytes -= entry.payload_bytes();
            self.memory -= entry.memory();
            self.tally.lost = Some(entry.id);
            removed += 1;
        }
        removed
    }

    /// Whether the oldest entry is one too many.
    fn front_is(&self, excess: Excess) -> bool {
        let Some(first) = self.first() else { return false };
        match excess {
            Excess::Entries(most) => self.entries.len() > most,
            Excess::Before(id) => first.id < id,
            Excess::Bytes(most) => self.payload_bytes - first.payload_bytes() > most,
        }
    }

    /// The entries of a range of ids, from the oldest on.
    pub(crate) fn range(
        &self,
        ids: RangeInclusive<EntryId>,
    ) -> impl DoubleEndedIterator<Item = &StreamEntry> + ExactSizeIterator + Clone {
        let from = self.entries.partition_point(|entry| entry.id < *ids.start());
        let to = self.entries.partition_point(|entry| entry.id <= *ids.end());
        self.entries.range(from..to.max(from))
    }

    /// All entries, from the oldest on.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &StreamEntry> {
        self.entries.iter()
    }

    /// Whether the log still has this entry.
    pub(crate) fn holds(&self, id: EntryId) -> bool {
        self.entries.binary_search_by_key(&id, |entry| entry.id).is_ok()
    }

    /// The oldest entry.
    pub(crate) fn first(&self) -> Option<&StreamEntry> {
        self.entries.front()
    }

    /// The newest entry.
    pub(crate) fn newest(&self) -> Option<&StreamEntry> {
        self.entries.back()
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The tally besides the entries.
    pub(crate) fn tally(&self) -> StreamTally {
        self.tally
    }

    /// The memory of the entries, about, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }
}
