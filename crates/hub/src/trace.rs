//! The place of one event on a node, for operators.

use std::sync::Arc;
use std::time::Instant;

use super::Hub;
use super::ring::Ring;
use super::workspace::WorkspaceCell;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Frame, Position};

/// The place of an event on a node that holds its workspace.
#[derive(Debug, Clone)]
pub enum EventPlace {
    /// The ring holds it.
    InRing(TracedFrame),
    /// The ring begins after it.
    Older {
        /// The number of the oldest frame in the ring, or of the next one if the ring is empty.
        oldest: u64,
    },
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
            let state = cell.lock();
            let ring = state.sequencer.ring();
            // Most rings are searched in vain: their ends decide. After a reset to an earlier
            // place they may exclude an event that is there. The caller then names the workspace.
            let is_within = ring.numbered().next().is_some_and(|(_, first, _)| {
                first.position().entry <= event.entry && event.entry <= ring.head_position().entry
            });
            is_within && matches!(place(ring, event), EventPlace::InRing(_))
        };
        let cells = self.cells();
        cells.iter().filter(|cell| holds(cell)).map(|cell| cell.id().clone()).take(most).collect()
    }
}

fn place(ring: &Ring, event: &Position) -> EventPlace {
    let mut oldest = None;
    for (number, frame, received) in ring.numbered() {
        oldest = oldest.or(Some(*frame.position()));
        if frame.is_application() && frame.position().is_same_event(event) {
            let frame = Arc::clone(frame);
            return EventPlace::InRing(TracedFrame { frame, number, received });
        }
    }
    if ring.head_position().entry < event.entry {
        EventPlace::NotYet
    } else if oldest.is_none_or(|oldest| is_before(event, &oldest)) {
        EventPlace::Older { oldest: ring.oldest() }
    } else {
        EventPlace::Missing
    }
}

/// Whether an event precedes the first frame of a ring. Live events have the entry of the durable
/// one before them.
fn is_before(event: &Position, first: &Position) -> bool {
    let is_before_live = match (event.live, first.live) {
        (None, Some(_)) => true,
        (Some(event), Some(first)) => event.number < first.number,
        (_, None) => false,
    };
    event.entry < first.entry || event.entry == first.entry && is_before_live
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::super::budget::RingBudget;
    use super::*;
    use tidings_event::control::ResetReason;

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
            EventPlace::Older { oldest } => format!("older than {oldest}"),
            EventPlace::NotYet => "not yet".to_owned(),
            EventPlace::Missing => "missing".to_owned(),
        };
        assert_eq!(name("2-0"), "older than 1", "two frames fit");
        assert_eq!(name("4-0"), "1 4-0");
        assert_eq!(name("4-0.abcdefghijkl"), "1 4-0");
        assert_eq!(name("4-0~abcdefgh.1"), "2 4-0~abcdefgh.1");
        assert_eq!(name("4-0~abcdefgh.2"), "missing");
        assert_eq!(name("5-0"), "not yet");
    }

    #[test]
    fn event_that_live_ones_replaced_is_older() {
        let ring = ring(&["4-0", "4-0~abcdefgh.1", "4-0~abcdefgh.2", "4-0~abcdefgh.3"]);
        for text in ["4-0", "4-0~abcdefgh.1", "3-0"] {
            assert!(matches!(place(&ring, &at(text)), EventPlace::Older { .. }), "{text}");
        }
        assert!(matches!(place(&ring, &at("4-0~abcdefgh.9")), EventPlace::Missing));
    }

    /// A reset to an earlier place lowers the head, and the frames before it stay.
    #[test]
    fn event_before_a_rollback_is_in_the_ring() {
        let mut ring = ring(&["4-0"]);
        ring.push(Frame::reset(ResetReason::RolledBack, None, at("2-0")));
        assert!(matches!(place(&ring, &at("4-0")), EventPlace::InRing(_)));
    }

    #[test]
    fn empty_ring_knows_no_event() {
        assert!(matches!(place(&ring(&[]), &at("1-0")), EventPlace::Older { .. }));
        assert!(matches!(place(&ring(&[]), &at("2-0")), EventPlace::NotYet));
    }
}
