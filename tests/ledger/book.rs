//! What publishers and clients of one workspace wrote down. No I/O: the verdict reads nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Time since the ledger was opened.
pub type Moment = Duration;

/// A place in a log, as Redis numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId(pub u64, pub u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for EntryId {
    type Err = String;

    /// Takes an `id:` of a stream; what a node adds behind `~` says nothing about the log.
    fn from_str(text: &str) -> Result<Self, String> {
        let entry = text.split('~').next().unwrap_or_default();
        let numbers = entry.split_once('-').and_then(|(milliseconds, sequence)| {
            Some(Self(milliseconds.parse().ok()?, sequence.parse().ok()?))
        });
        numbers.ok_or_else(|| format!("no entry id: {text:?}"))
    }
}

/// One number that a publisher tried to publish.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub number: u64,
    /// When it began.
    pub began: Moment,
    pub outcome: Outcome,
}

/// What became of it, as far as the publisher was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The event is in the log, at this place.
    Acknowledged(EntryId),
    /// It surely was not published.
    Failed,
    /// No answer: it may be in the log, or come into it later.
    Unknown,
}

/// Something that happened to a client.
#[derive(Debug, Clone)]
pub struct Sighting {
    pub at: Moment,
    pub what: Seen,
}

#[derive(Debug, Clone)]
pub enum Seen {
    /// It asked for the stream, with this `Last-Event-ID`.
    Connecting { after: Option<EntryId> },
    /// It was greeted.
    Hello { position: Option<EntryId> },
    /// An event of a publisher.
    Event { id: EntryId, number: u64 },
    /// A sign of life moved its position.
    Heartbeat { position: Option<EntryId> },
    /// It was told that events may be missing to it.
    Reset { reason: String, from: Option<EntryId>, head: EntryId },
    /// It was asked to come back.
    Reconnect,
    /// An answer after which an EventSource gives up.
    GaveUp(String),
}

/// All that one client saw.
#[derive(Debug, Clone, Default)]
pub struct Diary {
    pub client: String,
    pub sightings: Vec<Sighting>,
}

/// One workspace.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// In the order of their numbers: one publisher, one event at a time.
    pub attempts: Vec<Attempt>,
    pub diaries: Vec<Diary>,
    /// What the server's log holds in the end, where a server has lost entries that it had acknowledged; `None` where none
    /// has, so that nothing may be excused that way.
    pub survivors: Option<BTreeMap<EntryId, u64>>,
}
