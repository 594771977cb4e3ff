//! Changes of logs, for the disk.

use bytes::Bytes;

use super::entry::StreamEntry;
use super::stream::StreamTally;
use tidings_event::{EntryId, EpochRecord};

/// A change. The order of changes matters; a header follows all other changes of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogChange {
    /// An entry was added.
    Appended { log: Bytes, entry: StreamEntry },
    /// The entries before `first` are gone; all are if it is `None`.
    Trimmed { log: Bytes, first: Option<EntryId> },
    /// The log is gone.
    Removed { log: Bytes },
    /// The header of the log is this now.
    Header { log: Bytes, header: Header },
    /// A publication with an idempotency key was given ids.
    Remembered { key: Bytes, ids: Vec<EntryId>, until: u64 },
    /// A publication's idempotency key is forgotten.
    Forgotten { key: Bytes },
    /// The record of a log's epoch is this now, until a time in milliseconds since the Unix epoch;
    /// `None` if it is gone.
    Recorded { log: Bytes, record: Option<(EpochRecord, u64)> },
    /// The mark of live events of a log, likewise.
    Marked { log: Bytes, mark: Option<(u64, u64)> },
}

/// A log without its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) tally: StreamTally,
    /// Its end, in milliseconds since the Unix epoch.
    pub(crate) ends: u64,
    /// Whether an `EXPIRE` set it.
    pub(crate) is_set: bool,
}
