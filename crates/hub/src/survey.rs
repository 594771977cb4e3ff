//! The figures of workspaces, for operators. A read takes the lock of one workspace at a time.

use std::sync::Arc;

use super::Hub;
use super::workspace::{Subscription, WorkspaceCell};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Frame, Position};

/// The figures of one workspace on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceFigures {
    /// The workspace.
    pub id: WorkspaceId,
    /// The open streams.
    pub streams: usize,
    /// The events since the node holds the workspace.
    pub events: u64,
    /// The bytes of these events on the wire.
    pub event_bytes: u64,
    /// The memory of the recent events, in bytes.
    pub ring_bytes: usize,
    /// Whether the bus has confirmed the subscription.
    pub is_confirmed: bool,
    /// The newest position.
    pub head: Position,
}

impl Hub {
    /// Returns the figures of all workspaces, in no order. Copies the list of workspaces under the
    /// lock of the map, and then takes the lock of each workspace for a moment.
    #[must_use]
    pub fn survey(&self) -> Vec<WorkspaceFigures> {
        self.cells().iter().map(|cell| figures(cell)).collect()
    }

    /// Returns the figures of one workspace; `None` if the node does not hold it.
    #[must_use]
    pub fn figures(&self, workspace: &WorkspaceId) -> Option<WorkspaceFigures> {
        self.cell(workspace).map(|cell| figures(&cell))
    }

    /// Returns the newest events of a workspace in this node's memory, at most `count`, in order.
    #[must_use]
    pub fn recent(&self, workspace: &WorkspaceId, count: usize) -> Vec<Arc<Frame>> {
        self.cell(workspace).map(|cell| cell.lock().sequencer.ring().newest(count)).unwrap_or_default()
    }
}

fn figures(cell: &WorkspaceCell) -> WorkspaceFigures {
    let state = cell.lock();
    let ring = state.sequencer.ring();
    WorkspaceFigures {
        id: cell.id().clone(),
        streams: state.subscriber_count(),
        events: ring.head(),
        event_bytes: ring.pushed_bytes(),
        ring_bytes: ring.held_bytes(),
        is_confirmed: state.subscription == Subscription::Confirmed,
        head: ring.head_position(),
    }
}
