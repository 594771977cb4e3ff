//! The membership in a workspace: a subscriber counts, a reader is woken.

use std::fmt;
use std::sync::Arc;

use super::workspace::WorkspaceCell;
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
}

impl WaiterSlot {
    /// Takes over a reader that the workspace has added.
    pub(super) fn new(cell: Arc<WorkspaceCell>, slot: usize) -> Self {
        Self { cell, slot }
    }

    /// Adds a further reader.
    pub(super) fn enter(cell: Arc<WorkspaceCell>) -> Self {
        let slot = cell.enter_reader();
        Self { cell, slot }
    }

    pub(super) fn cell(&self) -> &Arc<WorkspaceCell> {
        &self.cell
    }

    pub(super) fn slot(&self) -> usize {
        self.slot
    }
}

impl Drop for WaiterSlot {
    fn drop(&mut self) {
        self.cell.leave_reader(self.slot);
    }
}
