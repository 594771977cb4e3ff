//! What publishers and clients of one workspace wrote down. No I/O: the verdict reads nothing else.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Time since the ledger was opened.
pub(super) type Moment = Duration;

/// A place in a log, as Redis numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct EntryId(pub u64, pub u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for EntryId {
    type Err = String;

    /// Takes an `id:` of a stream; what a node adds behind the two numbers says nothing about the
    /// log.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('-').and_then(|(milliseconds, rest)| {
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            Some(Self(milliseconds.parse().ok()?, rest[..end].parse().ok()?))
        });
        numbers.ok_or_else(|| format!("no entry id: {text:?}"))
    }
}

/// An `id:` of a stream: a place in the log, or beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// As it came.
    pub text: String,
    /// The place in the log that it is at, or behind.
    pub entry: EntryId,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), entry: text.parse()? })
    }
}

impl From<EntryId> for Place {
    fn from(entry: EntryId) -> Self {
        Self { text: entry.to_string(), entry }
    }
}

/// The name of an event of a workspace. Each publisher numbers its events, durable and live ones
/// together, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag {
    pub publisher: usize,
    pub number: u64,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {} of publisher {}", self.number, self.publisher)
    }
}

/// Whether an event goes through the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Durable,
    Live,
}

/// One number that a publisher tried to publish.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub tag: Tag,
    pub kind: Kind,
    /// When it began.
    pub began: Moment,
    /// When the publisher knew the outcome.
    pub ended: Moment,
    pub outcome: Outcome,
}

/// The outcome, as far as the publisher knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The event is in the log, at this place.
    Acknowledged(EntryId),
    /// The server sent the live event to so many subscribers. With none, no node received it.
    Heard(u64),
    /// It surely was not published.
    Failed,
    /// No reply: it may be in the log, or enter it later; nodes may have received a live event.
    Unknown,
}

/// Something that happened to a client.
#[derive(Debug, Clone)]
pub(super) struct Sighting {
    pub at: Moment,
    pub what: Seen,
}

#[derive(Debug, Clone)]
pub(super) enum Seen {
    /// It asked for the stream, with this `Last-Event-ID`.
    Connecting { after: Option<Place> },
    /// It was greeted.
    Connected { position: Option<Place> },
    /// An event of a publisher.
    Event { place: Place, tag: Tag },
    /// A sign of life moved its position.
    Heartbeat { position: Option<Place> },
    /// It got a reset: events may be missing.
    Reset { reason: String, from: Option<Place>, head: Place },
    /// It got a reconnect.
    Reconnect,
    /// Its connection ended.
    Disconnected,
    /// A response after which an EventSource gives up.
    GaveUp(String),
}

/// All that one client saw.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientTrace {
    pub client: String,
    pub sightings: Vec<Sighting>,
}

/// One workspace.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    /// Of each publisher in the order of its numbers: one event at a time.
    pub attempts: Vec<Attempt>,
    pub traces: Vec<ClientTrace>,
    /// The final log of a server that has lost acknowledged entries. `None` if no server has; then
    /// no loss has this excuse.
    pub survivors: Option<BTreeMap<EntryId, Tag>>,
    /// What each server had in the log at one time or another, without interruption by a copy of
    /// the log of another server. Empty if it is not known. Then all events are of one history.
    pub histories: Vec<HashSet<Tag>>,
    /// The times in which a broker was about to be killed. Events that only one node received then
    /// may be lost.
    pub deaths: Vec<(Moment, Moment)>,
    /// Whether nodes cannot find out that the workspace carries no live events, and have to say
    /// that it may.
    pub may_count_as_mixed: bool,
}

impl Records {
    /// All that was written down, a line each, to find out how something was lost.
    pub(super) fn lines(&self) -> String {
        let attempts = self.attempts.iter().map(|Attempt { tag, kind, began, ended, outcome }| {
            format!("{:.3} to {:.3}: {kind:?} {tag}: {outcome:?}\n", began.as_secs_f64(), ended.as_secs_f64())
        });
        let traces = self.traces.iter().flat_map(|ClientTrace { client, sightings }| {
            let line = move |Sighting { at, what }: &Sighting| {
                format!("{client}: {:.3}: {what:?}\n", at.as_secs_f64())
            };
            sightings.iter().map(line)
        });
        attempts.chain(traces).collect()
    }
}
