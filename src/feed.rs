//! What the bus delivers, to each who wants it: events to the hub, orders to the desk.

use std::sync::Arc;

use bytes::Bytes;

use tidings_auth::orders::Inbox;
use tidings_event::Feed;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::Hub;

/// The feed of a node.
#[derive(Debug)]
pub struct NodeFeed {
    hub: Arc<Hub>,
    orders: Inbox,
}

impl NodeFeed {
    /// Events go to the hub, orders to the inbox.
    #[must_use]
    pub fn new(hub: Arc<Hub>, orders: Inbox) -> Self {
        Self { hub, orders }
    }
}

impl Feed for NodeFeed {
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
        self.orders.confirmed();
    }

    fn control(&self, message: Bytes) {
        self.orders.order(message);
    }

    fn interrupted(&self) {
        self.hub.interrupted();
    }
}
