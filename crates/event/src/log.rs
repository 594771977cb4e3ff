//! Parts of a workspace's log, and proofs that a part is complete.

use bytes::Bytes;

use crate::{EntryId, Epoch, EpochRecord, TraceParent};

/// The field of an entry that holds the payload.
pub const PAYLOAD_FIELD: &[u8] = b"data";

/// The field of an entry that holds the audience. An event for all users does not have it.
pub const AUDIENCE_FIELD: &[u8] = b"to";

/// The field of an entry that holds the trace context. An event without a trace does not have it.
pub const TRACE_FIELD: &[u8] = b"traceparent";

/// The part of a log that a reader requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// No entries, only the position of the end. For an empty log the bus names the next epoch, so
    /// that the position is valid on every node.
    Head,
    /// The entries after another one, up to and including `until` if it is given.
    After {
        /// The known entry; [`EntryId::ZERO`] for the place before the first.
        after: EntryId,
        /// The epoch of that entry, if it is known.
        epoch: Option<Epoch>,
        /// The last requested entry.
        until: Option<EntryId>,
    },
    /// The entries at or after a time.
    Since {
        /// The time, in milliseconds since the Unix epoch.
        milliseconds: u64,
    },
    /// The oldest entries. The page is proven if the log has lost no entry since its first.
    Oldest,
    /// The newest entries.
    Newest {
        /// The number of entries.
        count: usize,
    },
    /// Those of two entries that the log still has, in this order.
    Held {
        /// The two entries.
        entries: [EntryId; 2],
    },
    /// No entries, only the mark of live events.
    LiveMark,
}

impl Span {
    /// Creates the span of all entries after one.
    #[must_use]
    pub fn after(after: EntryId, epoch: Option<Epoch>) -> Self {
        Self::After { after, epoch, until: None }
    }
}

/// The mark of live events beside a log. Every node that receives a live event writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LiveMark {
    /// There is no mark: no node has received a live event within the retention.
    #[default]
    Absent,
    /// Live events may have come until this time, in milliseconds since the Unix epoch by the clock
    /// of the bus.
    Until(u64),
    /// The mark cannot be read. The workspace counts as mixed.
    Unknown,
}

impl LiveMark {
    /// Returns whether live events may have come after an entry of the log.
    #[must_use]
    pub fn is_after(self, entry: EntryId) -> bool {
        match self {
            Self::Absent => false,
            Self::Until(milliseconds) => milliseconds > entry.milliseconds,
            Self::Unknown => true,
        }
    }
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its id.
    pub id: EntryId,
    /// The payload; `None` if the entry has no field `data`, because another program wrote it.
    pub payload: Option<Bytes>,
    /// The bytes of its field `to`, which [`Audience::parse`](crate::Audience::parse) reads; `None`
    /// for an event for all users.
    pub to: Option<Bytes>,
    /// The trace in its field `traceparent`; `None` if the field is absent or not valid.
    pub trace: Option<TraceParent>,
}

/// One page of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogPage {
    /// The entries, in order.
    pub entries: Vec<LogEntry>,
    /// Whether no entry is missing between the known place and the first entry; see [`proves`]. If
    /// not, `entries` is empty, except for [`Span::Oldest`].
    pub proven: bool,
    /// Whether the page was full, so that there may be more entries.
    pub more: bool,
    /// The newest entry of the log, [`EntryId::ZERO`] if there is none. It is exact for
    /// [`Span::Head`] and for pages that are not proven; for other pages it is at least the last
    /// entry of the page.
    pub head: EntryId,
    /// The record of the log's epoch; `None` if there is none or it cannot be read.
    pub record: Option<EpochRecord>,
    /// The mark of live events.
    pub live: LiveMark,
}

/// Returns whether a log proves that it has every entry after `after`.
///
/// `epoch` is the one that the position names. `first` is the first entry at or after `after`; for
/// [`EntryId::ZERO`] it is the first entry of the log.
///
/// An entry that is in the log proves this by itself, with two exceptions. Its epoch is known to be
/// another one, or an earlier log may have had an entry with the same id.
///
/// Only the epoch proves the place before the first entry, and only as long as the log has the
/// epoch's first entry.
#[must_use]
pub fn proves(
    record: Option<&EpochRecord>,
    after: EntryId,
    epoch: Option<Epoch>,
    first: Option<EntryId>,
) -> bool {
    let Some(record) = record else { return after != EntryId::ZERO && first == Some(after) };
    let is_same_epoch = epoch == Some(record.epoch);
    if after == EntryId::ZERO {
        return is_same_epoch
            && match first {
                None => !record.has_begun(),
                Some(first) => record.first == first,
            };
    }
    // An epoch without a known first entry began in the middle of a log.
    let is_of_another_log = epoch.is_some() && !is_same_epoch && record.first != EntryId::ZERO;
    first == Some(after) && !is_of_another_log && (is_same_epoch || !record.is_ambiguous(after))
}

/// Returns whether a log proves that it has every entry at or after a time. The log must have an
/// older entry, and no earlier log may reach that time.
#[must_use]
pub fn proves_since(record: Option<&EpochRecord>, milliseconds: u64, oldest: Option<EntryId>) -> bool {
    oldest.is_some_and(|oldest| oldest.milliseconds < milliseconds)
        && record.is_none_or(|record| record.earlier.milliseconds < milliseconds)
}

/// The size of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFigures {
    /// The number of entries; `None` if the bus does not permit to count them.
    pub length: Option<u64>,
    /// The oldest entry; `None` for an empty log.
    pub oldest: Option<EntryId>,
    /// The newest entry; `None` for an empty log.
    pub newest: Option<EntryId>,
}

/// The reason for which a log was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The bus is unreachable or did not reply in time. A retry may help.
    #[error("the log cannot be reached: {0}")]
    Unavailable(String),
    /// The bus replied with an error: the key is not a log, or access to it is denied.
    #[error("the log cannot be read: {0}")]
    Unreadable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(milliseconds: u64) -> EntryId {
        EntryId { milliseconds, sequence: 0 }
    }

    #[test]
    fn log_proves_nothing_before_its_first_entry() {
        let (epoch, other) = (Epoch::random(), Epoch::random());
        let not_begun = EpochRecord::not_begun(epoch, EntryId::ZERO);
        let begun = EpochRecord { first: entry(3), last: entry(9), ..not_begun };
        let zero = EntryId::ZERO;
        assert!(proves(Some(&not_begun), zero, Some(epoch), None));
        assert!(proves(Some(&begun), zero, Some(epoch), Some(entry(3))));
        assert!(!proves(Some(&not_begun), zero, Some(epoch), Some(entry(3))), "something else began the log");
        assert!(!proves(Some(&begun), zero, Some(epoch), Some(entry(4))), "the first entry is gone");
        assert!(!proves(Some(&begun), zero, Some(epoch), None), "all entries are gone");
        assert!(!proves(Some(&begun), zero, Some(other), Some(entry(3))));
        assert!(!proves(Some(&begun), zero, None, Some(entry(3))));
        assert!(!proves(None, zero, Some(epoch), None));
    }

    #[test]
    fn entry_proves_its_epoch_unless_an_earlier_one_reached_it() {
        let epoch = Epoch::random();
        let record =
            EpochRecord { first: entry(3), last: entry(9), ..EpochRecord::not_begun(epoch, entry(5)) };
        assert!(proves(Some(&record), entry(6), None, Some(entry(6))));
        assert!(!proves(Some(&record), entry(6), Some(Epoch::random()), Some(entry(6))));
        let in_the_middle = EpochRecord { first: EntryId::ZERO, ..record };
        assert!(proves(Some(&in_the_middle), entry(6), Some(Epoch::random()), Some(entry(6))));
        assert!(!proves(Some(&record), entry(6), None, Some(entry(7))));
        assert!(!proves(Some(&record), entry(4), None, Some(entry(4))));
        assert!(proves(Some(&record), entry(4), Some(epoch), Some(entry(4))));
        assert!(!proves(Some(&record), entry(4), Some(Epoch::random()), Some(entry(4))));
        assert!(proves(None, entry(4), None, Some(entry(4))));
    }

    #[test]
    fn only_an_older_entry_proves_a_time() {
        let record = EpochRecord::not_begun(Epoch::random(), entry(5));
        assert!(proves_since(None, 4, Some(entry(3))));
        assert!(!proves_since(None, 3, Some(entry(3))));
        assert!(!proves_since(None, 3, None));
        assert!(!proves_since(Some(&record), 5, Some(entry(3))));
        assert!(proves_since(Some(&record), 6, Some(entry(3))));
    }
}
