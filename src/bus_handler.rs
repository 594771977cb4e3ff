//! Passes events of the bus to the hub, and disconnects to the disconnect handler. Beside that, the
//! schemas check the events.

use std::sync::Arc;

use bytes::Bytes;

use tidings_auth::control::ControlInbox;
use tidings_event::BusHandler;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::Hub;
use tidings_schemas::SchemaCheck;

/// Receives what the bus of a node reports.
#[derive(Debug)]
pub struct NodeHandler {
    hub: Arc<Hub>,
    control: ControlInbox,
    schemas: Option<Arc<SchemaCheck>>,
}

impl NodeHandler {
    /// Events go to the hub, control commands to the inbox. `schemas` check events beside that.
    #[must_use]
    pub fn new(hub: Arc<Hub>, control: ControlInbox, schemas: Option<Arc<SchemaCheck>>) -> Self {
        Self { hub, control, schemas }
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
        if let Some(schemas) = &self.schemas {
            schemas.message(workspace, &message);
        }
        self.hub.message(workspace, message);
    }

    fn control_confirmed(&self) {
        self.control.confirmed();
    }

    fn control(&self, message: Bytes) {
        self.control.command(message);
    }

    fn lost(&self, workspace: &WorkspaceId) {
        self.hub.lost(workspace);
    }

    fn interrupted(&self) {
        self.hub.interrupted();
    }
}
