//! The membership in a workspace: a subscriber counts, a reader is woken.

use std::fmt;
use std::sync::Arc;

use super::workspace::{WorkspaceCell, WorkspaceState};
use tidings_event::workspace::WorkspaceId;

/// Counts as a subscriber of its workspace until it is dropped.
pub struct SubscriptionGuard(Arc<WorkspaceCell>);

impl SubscriptionGuard {
    /// Takes over a subscriber that the workspace has added.
    pub(super) fn new(cell: Arc<WorkspaceCell>) -> Self {
        Self(cell)
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        self.0.id()
    }
}

impl Drop for SubscriptionGuard {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl fmt::Debug for SubscriptionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SubscriptionGuard").field(self.workspace()).finish()
    }
}

/// The slot of a reader that is woken when there is something to read.
#[derive(Debug)]
pub(super) struct WaiterSlot {
    cell: Arc<WorkspaceCell>,
    slot: usize,
    /// The cursor of a subscriber that reads the ring; [`NO_CURSOR`] otherwise.
    cursor: u64,
}

/// The reader has no cursor, or the ring counts it as a follower.
const NO_CURSOR: u64 = u64::MAX;

impl WaiterSlot {
    /// Takes over a reader that the workspace has added.
    pub(super) fn new(cell: Arc<WorkspaceCell>, slot: usize) -> Self {
        Self { cell, slot, cursor: NO_CURSOR }
    }

    /// Adds a further reader.
    pub(super) fn enter(cell: Arc<WorkspaceCell>) -> Self {
        let slot = cell.enter_reader();
        Self { cell, slot, cursor: NO_CURSOR }
    }

    pub(super) fn cell(&self) -> &Arc<WorkspaceCell> {
        &self.cell
    }

    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    /// Notes the cursor of a subscriber in the ring, or that it has none. So the ring knows the
    /// readers that owe a watched frame.
    pub(super) fn note_cursor(&mut self, state: &mut WorkspaceState, cursor: Option<u64>) {
        let cursor = cursor.unwrap_or(NO_CURSOR);
        match (self.cursor, cursor) {
            (NO_CURSOR, NO_CURSOR) => {}
            (NO_CURSOR, begin) => state.sequencer.ring_mut().enter(begin),
            (last, NO_CURSOR) => state.sequencer.ring_mut().leave(last),
            _ => {}
        }
        self.cursor = cursor;
    }
}

impl Drop for WaiterSlot {
    fn drop(&mut self) {
        self.cell.leave_reader(self.slot, Some(self.cursor).filter(|&cursor| cursor != NO_CURSOR));
    }
}
