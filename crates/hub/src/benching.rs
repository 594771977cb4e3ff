//! A workspace's ring for the benches, which cannot reach it otherwise. In no build of the program.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;

use super::budget::RingBudget;
use super::ring::{self, RingEntry};
use tidings_event::{EntryId, Frame, Position};

/// The ring of a workspace, with a budget of its own.
#[derive(Debug)]
pub struct BenchRing(ring::Ring);

impl BenchRing {
    /// A ring of so many frames at most. Bytes do not bound it.
    #[must_use]
    pub fn new(events: usize) -> Self {
        let budget = Arc::new(RingBudget::new(Gauge::default(), usize::MAX));
        Self(ring::Ring::new(Position::logged(EntryId::ZERO), events, usize::MAX, budget))
    }

    /// Adds a frame; the oldest one falls out where there are too many.
    pub fn push(&mut self, frame: Frame) {
        self.0.push(frame);
    }

    /// Reads everything behind a cursor, as a subscriber does. Answers the cursor of who has it.
    #[must_use]
    pub fn read(&self, mut cursor: u64, mut reader: impl FnMut(&Arc<Frame>)) -> u64 {
        while let RingEntry::Frame(frame) = self.0.at(cursor) {
            reader(frame);
            cursor += 1;
        }
        cursor
    }

    /// The cursor of the oldest frame.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.0.oldest()
    }

    /// The cursor of a reader that has seen everything up to a place, where the ring proves it.
    #[must_use]
    pub fn cursor_after(&self, position: &Position) -> Option<u64> {
        self.0.cursor_after(position)
    }
}
