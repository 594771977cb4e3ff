//! The receiver of what a bus reports.

use bytes::Bytes;

use crate::workspace::WorkspaceId;

/// Receives what a bus reports.
///
/// For one workspace, a bus makes one call at a time, in the order of its messages. A call must
/// return quickly, because the bus reads no further message until then.
pub trait BusHandler: Send + Sync + 'static {
    /// Reports that the subscription to a workspace is confirmed. The bus delivers every later
    /// message.
    fn confirmed(&self, workspace: &WorkspaceId);

    /// Reports that the bus rejects the subscription to a workspace. The bus subscribes again on
    /// the next link, or when [`DesiredSubscriptions`](crate::DesiredSubscriptions) want the
    /// workspace again.
    fn refused(&self, workspace: &WorkspaceId, reason: &str);

    /// Receives a message of a workspace's channel, as it was published.
    fn message(&self, workspace: &WorkspaceId, message: Bytes);

    /// Reports that the subscription to the control channel is confirmed. After an interruption,
    /// commands may have been lost.
    ///
    /// A handler without control commands keeps this empty method and the next one.
    fn control_confirmed(&self) {}

    /// Receives a message of the control channel.
    fn control(&self, _message: Bytes) {}

    /// Reports that the subscription to one workspace is lost, perhaps with messages. The bus
    /// confirms or rejects the workspace again later, if it is still wanted.
    fn lost(&self, workspace: &WorkspaceId);

    /// Reports that all subscriptions are lost, perhaps with messages. The bus confirms or rejects
    /// each workspace again later.
    fn interrupted(&self);
}
