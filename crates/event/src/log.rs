//! Reading a workspace's log.

use bytes::Bytes;

use crate::{EntryId, Epoch, EpochRecord};

/// The field of an entry that holds the event's payload.
pub const PAYLOAD_FIELD: &[u8] = b"data";

/// The field of an entry that says for whom the event is; where it is missing, for everybody.
pub const AUDIENCE_FIELD: &[u8] = b"to";

/// Which part of a log is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// No entries, only where the log ends. Where it has no entries, its next epoch is named, so that the position of the
    /// empty log is good on every node.
    Head,
    /// What comes after an entry, up to and including another one if it is given.
    After {
        /// The entry that is known; [`EntryId::ZERO`] for the place before the first.
        after: EntryId,
        /// The epoch that it belongs to, where that is known.
        epoch: Option<Epoch>,
        /// The last one wanted.
        until: Option<EntryId>,
    },
    /// What was logged at or after a time, in milliseconds since the Unix epoch.
    Since {
        /// The time.
        milliseconds: u64,
    },
    /// The oldest entries. The page is proven where the log has never lost one since its first.
    Oldest,
    /// The newest entries.
    Newest {
        /// How many.
        count: usize,
    },
    /// Those of two entries that the log holds, in this order.
    Held {
        /// The entries.
        entries: [EntryId; 2],
    },
    /// No entries, only the mark of live events.
    LiveMark,
}

impl Span {
    /// All that comes after an entry.
    #[must_use]
    pub fn after(after: EntryId, epoch: Option<Epoch>) -> Self {
        Self::After { after, epoch, until: None }
    }
}

/// What is known of live events in a workspace, from the mark beside its log that every node writes which hears one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LiveMark {
    /// There is no mark: no node has heard a live event within the retention.
    #[default]
    Absent,
    /// Live events may have come until this time, in milliseconds since the Unix epoch by the clock of the bus.
    Until(u64),
    /// The mark cannot be read: the workspace counts as one that carries live events.
    Unknown,
}

impl LiveMark {
    /// Whether live events may have come after an entry of the log.
    #[must_use]
    pub fn is_after(self, entry: EntryId) -> bool {
        match self {
            Self::Absent => false,
            Self::Until(milliseconds) => milliseconds > entry.milliseconds,
            Self::Unknown => true,
        }
    }
}

/// An entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its id.
    pub id: EntryId,
    /// The event's payload; `None` when the entry has no field `data`, so that someone else wrote it.
    pub payload: Option<Bytes>,
    /// What its field `to` says, an [`Audience`](crate::Audience) if it is sound; `None` where it has no such field,
    /// so that the event is for everybody.
    pub to: Option<Bytes>,
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogPage {
    /// Entries in order.
    pub entries: Vec<LogEntry>,
    /// Whether nothing is missing between what was known and the first entry; see [`proves`]. Where it does not hold, `entries` is
    /// empty, except for [`Span::Oldest`].
    pub proven: bool,
    /// Whether the page was full, so that there may be more.
    pub more: bool,
    /// The newest entry of the log, [`EntryId::ZERO`] where there is none. Known for [`Span::Head`] and where the page is
    /// not proven; elsewhere at least the last entry of the page.
    pub head: EntryId,
    /// What is kept beside the log about its epoch; `None` where there is nothing or it cannot be read.
    pub record: Option<EpochRecord>,
    /// What is known of live events.
    pub live: LiveMark,
}

/// Whether a log proves that it holds all that came after `after`, where `epoch` is the one that the position named and
/// `first` the first entry found from `after` on, that one included; for [`EntryId::ZERO`] the first of the log.
///
/// An entry proves it by being there, unless its epoch is known to be another one, or an earlier log may have had one of the same id. The place before the first entry is proven by the epoch alone, and only while the log still has the epoch's first
/// entry.
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
                None => !record.is_born(),
                Some(first) => record.first == first,
            };
    }
    // An epoch whose first entry is not known was begun in the middle of a log.
    let is_of_another_log = epoch.is_some() && !is_same_epoch && record.first != EntryId::ZERO;
    first == Some(after) && !is_of_another_log && (is_same_epoch || !record.is_ambiguous(after))
}

/// Whether a log proves that it holds all that was logged at or after a time: an `older` entry of the same log is there, and
/// no earlier log reached so far.
#[must_use]
pub fn proves_since(record: Option<&EpochRecord>, milliseconds: u64, oldest: Option<EntryId>) -> bool {
    oldest.is_some_and(|oldest| oldest.milliseconds < milliseconds)
        && record.is_none_or(|record| record.earlier.milliseconds < milliseconds)
}

/// Why a log was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The bus cannot be reached, or did not answer in time; trying again may help.
    #[error("the log cannot be reached: {0}")]
    Unavailable(String),
    /// The bus answers with an error: the key is no log, or may not be read.
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
    fn log_proves_nothing_from_before_it_began() {
        let (epoch, other) = (Epoch::random(), Epoch::random());
        let unborn = EpochRecord::unborn(epoch, EntryId::ZERO);
        let born = EpochRecord { first: entry(3), last: entry(9), ..unborn };
        let zero = EntryId::ZERO;
        assert!(proves(Some(&unborn), zero, Some(epoch), None));
        assert!(proves(Some(&born), zero, Some(epoch), Some(entry(3))));
        assert!(!proves(Some(&unborn), zero, Some(epoch), Some(entry(3))), "something else began the log");
        assert!(!proves(Some(&born), zero, Some(epoch), Some(entry(4))), "the first entry is gone");
        assert!(!proves(Some(&born), zero, Some(epoch), None), "all entries are gone");
        assert!(!proves(Some(&born), zero, Some(other), Some(entry(3))));
        assert!(!proves(Some(&born), zero, None, Some(entry(3))));
        assert!(!proves(None, zero, Some(epoch), None));
    }

    #[test]
    fn entry_proves_its_epoch_unless_an_earlier_one_reached_so_far() {
        let epoch = Epoch::random();
        let record = EpochRecord { first: entry(3), last: entry(9), ..EpochRecord::unborn(epoch, entry(5)) };
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
    fn time_is_proven_by_an_older_entry_alone() {
        let record = EpochRecord::unborn(Epoch::random(), entry(5));
        assert!(proves_since(None, 4, Some(entry(3))));
        assert!(!proves_since(None, 3, Some(entry(3))));
        assert!(!proves_since(None, 3, None));
        assert!(!proves_since(Some(&record), 5, Some(entry(3))));
        assert!(proves_since(Some(&record), 6, Some(entry(3))));
    }
}
