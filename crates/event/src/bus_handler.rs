//! Where the bus delivers what it hears.

use bytes::Bytes;

use crate::workspace::WorkspaceId;

/// Where a bus delivers to. Calls come from one place at a time for each workspace, in the order of the bus, and must
/// return quickly: they are made while a socket waits to be drained.
pub trait BusHandler: Send + Sync + 'static {
    /// The subscription to a workspace stands: every message from now on is delivered.
    fn confirmed(&self, workspace: &WorkspaceId);

    /// The bus will not let this node subscribe to a workspace; it is tried again when the link is made anew and when
    /// the workspace is wanted anew.
    fn refused(&self, workspace: &WorkspaceId, reason: &str);

    /// A message of a workspace's channel, as it was published.
    fn message(&self, workspace: &WorkspaceId, message: Bytes);

    /// The subscription to the control channel stands (again): orders that were given before may have been missed.
    /// A feed that takes no orders leaves this and the next one alone.
    fn control_confirmed(&self) {}

    /// A message of the control channel: an order from a backend.
    fn control(&self, _message: Bytes) {}

    /// Every subscription is lost, and messages with it perhaps. Each workspace is confirmed or refused again later.
    fn interrupted(&self);
}
