//! Passes events of the bus to the hub, disconnects to the disconnect handler, and questions to the
//! responder. Beside that, the schemas check the events.

use std::sync::Arc;

use bytes::Bytes;

use crate::nodes::{NodeQuestion, QuestionInbox};
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
    questions: QuestionInbox,
    schemas: Option<Arc<SchemaCheck>>,
}

impl NodeHandler {
    /// Events go to the hub, commands and questions to their inboxes. `schemas` check events too.
    #[must_use]
    pub fn new(
        hub: Arc<Hub>,
        control: ControlInbox,
        questions: QuestionInbox,
        schemas: Option<Arc<SchemaCheck>>,
    ) -> Self {
        Self { hub, control, questions, schemas }
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
        if NodeQuestion::is_question(&message) {
            self.questions.receive(message);
        } else {
            self.control.command(message);
        }
    }

    fn lost(&self, workspace: &WorkspaceId) {
        self.hub.lost(workspace);
    }

    fn interrupted(&self) {
        self.hub.interrupted();
    }
}
