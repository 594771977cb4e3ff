//! What is kept of a stream for the line that the log has on its end.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::recipient::Recipient;
use crate::event::control::ReconnectReason;
use crate::limits::Lease;
use crate::workspace::WorkspaceId;

/// A stream's account, and its place among the open ones. The log line is written when this is dropped.
pub(super) struct Account {
    workspace: WorkspaceId,
    pub(super) lease: Lease,
    address: SocketAddr,
    client: IpAddr,
    began: Instant,
    /// Events that it was given.
    pub(super) events: u64,
    /// Bytes that it was given.
    pub(super) bytes: u64,
    why: Option<&'static str>,
}

impl Account {
    /// The account of a stream that begins now.
    pub(super) fn new(workspace: WorkspaceId, lease: Lease, to: &Recipient) -> Self {
        let (address, client) = (to.address, to.client);
        Self { workspace, lease, address, client, began: Instant::now(), events: 0, bytes: 0, why: None }
    }

    /// The stream ends with a word to the client.
    pub(super) fn ended(&mut self, reason: ReconnectReason) {
        self.why = Some(reason.as_str());
    }

    /// The stream ends without a word to the client, unless it has had one.
    pub(super) fn cut(&mut self, why: &'static str) {
        self.why.get_or_insert(why);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        tracing::info!(
            workspace = %self.workspace,
            connection = %self.lease.id(),
            address = %self.address,
            client = %self.client,
            seconds = self.began.elapsed().as_secs_f64(),
            events = self.events,
            bytes = self.bytes,
            why = self.why.unwrap_or("client left"),
            "stream ended"
        );
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("workspace", &self.workspace).finish_non_exhaustive()
    }
}
