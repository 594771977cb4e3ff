//! The place of one event on a node, for operators.

use std::sync::Arc;
use std::time::Instant;

use super::Hub;
use super::ring::Ring;
use super::workspace::WorkspaceCell;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{EntryId, Frame, Position};

/// The place of an event on a node that holds its workspace.
#[derive(Debug, Clone)]
pub enum EventPlace {
    /// The ring holds it.
    InRing(TracedFrame),
    /// The ring begins after it.
    Older,
    /// The node has received nothing so new.
    NotYet,
    /// The ring reaches from before the event to after it, and does not hold it.
    Missing,
}

/// An event in the ring.
#[derive(Debug, Clone)]
pub struct TracedFrame {
    /// The event.
    pub frame: Arc<Frame>,
    /// Its number in the ring.
    pub number: u64,
    /// The time at which the node appended it.
    pub received: Instant,
}

impl Hub {
    /// Finds an event by its position; `None` if the node does not hold the workspace.
    ///
    /// A durable event is found with or without the epoch of its log.
    #[must_use]
    pub fn locate(&self, workspace: &WorkspaceId, event: &Position) -> Option<EventPlace> {
        let cell = self.cell(workspace)?;
        let state = cell.lock();
        Some(place(state.sequencer.ring(), event))
    }

    /// Returns the workspaces whose rings hold an event, at most `most`. It takes the lock of one
    /// workspace at a time.
    #[must_use]
    pub fn find(&self, event: &Position, most: usize) -> Vec<WorkspaceId> {
        let holds = |cell: &Arc<WorkspaceCell>| {
            matches!(place(cell.lock().sequencer.ring(), event), EventPlace::InRing(_))
        };
        let cells = self.cells();
        cells.iter().filter(|cell| holds(cell)).map(|cell| cell.id().clone()).take(most).collect()
    }
}

fn place(ring: &Ring, event: &Position) -> EventPlace {
    // Most rings are searched in vain: the last frame decides.
    let head = ring.head_position();
    if head.entry < event.entry {
        return EventPlace::NotYet;
    }
    let mut oldest = None;
    for (number, frame, received) in ring.numbered() {
        oldest = oldest.or(Some(frame.position().entry));
        if frame.is_application() && is_same(frame.position(), event) {
            let frame = Arc::clone(frame);
            return EventPlace::InRing(TracedFrame { frame, number, received });
        }
    }
    let begins: EntryId = oldest.unwrap_or(head.entry);
    if event.entry < begins || oldest.is_none() { EventPlace::Older } else { EventPlace::Missing }
}

fn is_same(position: &Position, event: &Position) -> bool {
    let is_of_log = event.epoch.is_none() || position.epoch.is_none() || position.epoch == event.epoch;
    position.entry == event.entry && position.live == event.live && is_of_log
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::super::budget::RingBudget;
    use super::*;

    fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    fn ring(positions: &[&str]) -> Ring {
        let mut ring = Ring::new(at("1-0"), 2, 1 << 20, Arc::new(RingBudget::new(Gauge::default(), 1 << 20)));
        for position in positions {
            ring.push(Frame::application(at(position), "x"));
        }
        ring
    }

    #[test]
    fn event_is_in_the_ring_or_before_or_after_it() {
        let ring = ring(&["2-0", "4-0", "4-0~abcdefgh.1"]);
        let name = |text| match place(&ring, &at(text)) {
            EventPlace::InRing(found) => format!("{} {}", found.number, found.frame.position()),
            EventPlace::Older => "older".to_owned(),
            EventPlace::NotYet => "not yet".to_owned(),
            EventPlace::Missing => "missing".to_owned(),
        };
        assert_eq!(name("2-0"), "older", "two frames fit");
        assert_eq!(name("4-0"), "1 4-0");
        assert_eq!(name("4-0.abcdefghijkl"), "1 4-0");
        assert_eq!(name("4-0~abcdefgh.1"), "2 4-0~abcdefgh.1");
        assert_eq!(name("4-0~abcdefgh.2"), "missing");
        assert_eq!(name("5-0"), "not yet");
    }

    #[test]
    fn empty_ring_knows_no_event() {
        assert!(matches!(place(&ring(&[]), &at("1-0")), EventPlace::Older));
        assert!(matches!(place(&ring(&[]), &at("2-0")), EventPlace::NotYet));
    }
}
