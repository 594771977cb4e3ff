//! Reading a workspace's log.

use bytes::Bytes;

use crate::event::EntryId;

/// The field of an entry that holds the event's payload.
pub const PAYLOAD_FIELD: &[u8] = b"data";

/// The field of an entry that says for whom the event is; where it is missing, for everybody.
pub const AUDIENCE_FIELD: &[u8] = b"to";

/// Which part of a log is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// No entries, only where the log ends.
    Head,
    /// What comes after an entry, up to and including another one if it is given.
    After {
        /// The entry that is known.
        after: EntryId,
        /// The last one wanted.
        until: Option<EntryId>,
    },
    /// What was logged at or after a time, in milliseconds since the Unix epoch.
    Since {
        /// The time.
        milliseconds: u64,
    },
    /// The newest entries.
    Newest {
        /// How many.
        count: usize,
    },
}

/// An entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its id.
    pub id: EntryId,
    /// The event's payload; `None` when the entry has no field `data`, so that someone else wrote it.
    pub payload: Option<Bytes>,
    /// What its field `to` says, an [`Audience`](crate::event::Audience) if it is sound; `None` where it has no such field,
    /// so that the event is for everybody.
    pub to: Option<Bytes>,
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// Entries in order.
    pub entries: Vec<LogEntry>,
    /// Whether nothing is missing between what was known and the first entry: the log still holds the known entry, or has
    /// never lost one. Where it does not hold, `entries` is empty.
    pub proven: bool,
    /// Whether the page was full, so that there may be more.
    pub more: bool,
    /// The newest entry of the log, [`EntryId::ZERO`] where there is none. Known for [`Span::Head`] and where the page is
    /// not proven; elsewhere at least the last entry of the page.
    pub head: EntryId,
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
