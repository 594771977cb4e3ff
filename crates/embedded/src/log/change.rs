//! Changes of logs, for the disk.

use bytes::Bytes;

use super::entry::StreamEntry;
use super::stream::StreamTally;
use tidings_event::EntryId;

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
    /// A value beside a log is this text now, until a time in milliseconds since the Unix epoch;
    /// `None` if it is gone.
    Beside { kind: BesideKind, key: Bytes, value: Option<(String, u64)> },
}

/// The kinds of values beside logs. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BesideKind {
    /// The record of a log's epoch.
    Epoch = 0,
    /// The mark of live events of a log.
    Live = 1,
    /// The ids of a publication with an idempotency key.
    Once = 2,
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
