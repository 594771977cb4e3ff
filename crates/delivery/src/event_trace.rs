//! The streams that have an event, and those that lack it, for operators. The writers are asked for
//! it, so a stream stores nothing for it.

use std::time::Duration;

use super::stream_report::StreamReport;
use tidings_event::Position;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::{SubscriptionFilter, TracedFrame};

/// The streams behind an event that are reported, those that lack the most.
const SLOWEST_MAX: usize = 10;

/// An event of a workspace on this node.
#[derive(Debug, Clone)]
pub struct TracedEvent {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its position.
    pub position: Position,
    /// The event in the ring; `None` once the ring has dropped it.
    pub frame: Option<TracedFrame>,
    /// The number of the oldest frame in the ring.
    pub oldest: u64,
}

impl TracedEvent {
    /// The number of the event in the ring.
    pub(super) fn number(&self) -> Option<u64> {
        self.frame.as_ref().map(|traced| traced.number)
    }

    /// Whether a stream is past the event. `cursor` is the number of its next frame in the ring,
    /// `None` while it reads the log. `position` is the place up to which it has every event.
    pub(super) fn is_past(&self, cursor: Option<u64>, position: Option<&Position>) -> bool {
        match (cursor, self.number()) {
            (Some(cursor), Some(number)) => cursor > number,
            (Some(cursor), None) if cursor >= self.oldest => true,
            // It reads the log, or frames that the ring has dropped.
            _ => position.is_some_and(|position| position.reaches(&self.position)),
        }
    }
}

/// The open streams of a workspace as one event sees them. Streams that have ended are not counted.
#[derive(Debug, Clone, Default)]
pub struct EventStreams {
    /// Streams that were open when the node received the event, and to which it is written.
    pub written: usize,
    /// Further streams that are past the event: they began after it, or got it in a replay. For an
    /// event that the ring has dropped, all streams past it, and those that do not get it.
    pub past: usize,
    /// Streams to which the event is still to be written.
    pub behind: usize,
    /// Streams that do not get it, by its audience or their types.
    pub hidden: usize,
    /// Some of the streams behind, those that lack the most first.
    pub slowest: Vec<StreamReport>,
}

impl EventStreams {
    /// Counts a stream.
    pub(super) fn add(
        &mut self,
        event: &TracedEvent,
        filter: &SubscriptionFilter,
        age: Duration,
        is_past: bool,
        report: impl FnOnce() -> Option<StreamReport>,
    ) {
        let frame = event.frame.as_ref();
        if frame.is_some_and(|traced| filter.bytes(&traced.frame).is_none()) {
            self.hidden += 1;
        } else if !is_past {
            self.behind += 1;
            self.slowest.extend(report());
            self.trim();
        } else if frame.is_some_and(|traced| age > traced.received.elapsed()) {
            self.written += 1;
        } else {
            self.past += 1;
        }
    }

    /// Adds the streams of another writer.
    pub fn join(&mut self, other: Self) {
        self.written += other.written;
        self.past += other.past;
        self.behind += other.behind;
        self.hidden += other.hidden;
        self.slowest.extend(other.slowest);
        self.trim();
    }

    /// Keeps the streams that lack the most.
    fn trim(&mut self) {
        // A stream that reads the log lacks an unknown number, perhaps all.
        self.slowest.sort_by_key(|stream| {
            let events = stream.events_behind.unwrap_or(u64::MAX);
            std::cmp::Reverse((events, stream.bytes_behind.unwrap_or_default()))
        });
        self.slowest.truncate(SLOWEST_MAX);
    }
}
