//! Being in a workspace: as a subscriber, which counts, and as a reader, which is woken.

use std::fmt;
use std::sync::Arc;

use super::workspace::WorkspaceCell;
use tidings_event::workspace::WorkspaceId;

/// A subscriber counts as one of its workspace until this is dropped.
pub struct SubscriptionGuard(Arc<WorkspaceCell>);

impl SubscriptionGuard {
    /// Takes over the leaving of a subscriber that has entered.
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

/// A place among those who are woken when there is something to read.
#[derive(Debug)]
pub(super) struct WaiterSlot {
    cell: Arc<WorkspaceCell>,
    slot: usize,
}

impl WaiterSlot {
    /// Takes over the leaving of a reader that has entered.
    pub(super) fn new(cell: Arc<WorkspaceCell>, slot: usize) -> Self {
        Self { cell, slot }
    }

    /// Enters as a further reader.
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
