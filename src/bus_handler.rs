//! Passes events of the bus to the hub, and disconnects to the disconnect handler.

use std::sync::Arc;

use bytes::Bytes;

use tidings_auth::control::ControlInbox;
use tidings_event::BusHandler;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::Hub;

/// Receives what the bus of a node reports.
#[derive(Debug)]
pub struct NodeHandler {
    hub: Arc<Hub>,
    control: ControlInbox,
}

impl NodeHandler {
    /// Events go to the hub, control commands to the inbox.
    #[must_use]
    pub fn new(hub: Arc<Hub>, control: ControlInbox) -> Self {
        Self { hub, control }
    }
}

impl BusHandler for NodeHandler {
    fn confirmed(&self, workspace: &WorkspaceId) {
        self.hub.confirmed(workspace);
    }

    fn refused(&self, workspace: &WorkspaceId, reason: &str) {
        self.hub.refused(workspace, reason);
    }

    fn message(&self, workspace: &WorkspaceId, message: Bytes) {
        self.hub.message(workspace, message);
    }

    fn control_confirmed(&self) {
        self.control.confirmed();
    }

    fn control(&self, message: Bytes) {
        self.control.command(message);
    }

    fn interrupted(&self) {
        self.hub.interrupted();
    }
}
