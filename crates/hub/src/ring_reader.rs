//! Reads the ring of a workspace once for many subscribers.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::ring::RingEntry;
use super::waiter_slot::WaiterSlot;
use super::workspace::Subscription;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Frame, Position};

/// A cursor into a workspace's ring without a filter. It gets every frame, and its owner applies
/// the filters of the clients. The ring keeps frames longer that it has not read. It is no
/// subscriber and keeps no workspace alive.
#[derive(Debug)]
pub struct RingReader {
    waiter_slot: WaiterSlot,
    /// Its key among the followers of the ring.
    follower: usize,
    cursor: u64,
    position: Position,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingRead {
    /// At least one frame.
    Frames,
    /// The next frame is no longer in the ring. Nothing follows.
    Lagging,
    /// The bus refuses the workspace. Nothing follows.
    Unavailable,
}

impl RingReader {
    pub(super) fn new(waiter_slot: WaiterSlot, cursor: u64, position: Position) -> Self {
        let follower = waiter_slot.cell().lock().sequencer.ring_mut().follow(cursor);
        Self { waiter_slot, follower, cursor, position }
    }

    /// The workspace whose ring it reads.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        self.waiter_slot.cell().id()
    }

    /// The number in the ring of the frame that comes next.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The position up to which it has read every event.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Whether events reach the node at the moment.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.waiter_slot.cell().lock().subscription == Subscription::Confirmed
    }

    /// Adds the next frames to `frames`, at most `most` (at least 1). Wakes the task of the last
    /// call only.
    pub fn poll_frames(
        &mut self,
        context: &Context<'_>,
        most: usize,
        frames: &mut Vec<Arc<Frame>>,
    ) -> Poll<RingRead> {
        let cell = Arc::clone(self.waiter_slot.cell());
        let mut state = cell.lock();
        if state.subscription == Subscription::Refused {
            return Poll::Ready(RingRead::Unavailable);
        }
        let mut found = false;
        for _ in 0..most {
            match state.sequencer.ring().at(self.cursor) {
                RingEntry::Frame(frame) => {
                    self.cursor += 1;
                    self.position = *frame.position();
                    frames.push(Arc::clone(frame));
                    found = true;
                }
                RingEntry::FallenOut if !found => return Poll::Ready(RingRead::Lagging),
                RingEntry::Head | RingEntry::FallenOut => break,
            }
        }
        if found {
            state.sequencer.ring_mut().follower_moved(self.follower, self.cursor);
            return Poll::Ready(RingRead::Frames);
        }
        state.wait(self.waiter_slot.slot(), context);
        Poll::Pending
    }
}

impl Drop for RingReader {
    fn drop(&mut self) {
        self.waiter_slot.cell().lock().sequencer.ring_mut().unfollow(self.follower);
    }
}
