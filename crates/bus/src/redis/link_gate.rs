//! What a subscription link pushes goes through a gate into the feed, until the link is given up. After that nothing
//! passes: a link that was silent may still have messages of the past in it, and they must not come after newer ones.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::{Notify, watch};

use super::channel::{Channels, Owner};
use crate::StateCell;
use tidings_event::BusHandler;
use tidings_event::workspace::WorkspaceId;

/// The gate of one link.
pub(super) struct LinkGate {
    /// Taken out when the gate is shut. The lock is held while the feed takes a message, so that shutting waits for it.
    bus_handler: Mutex<Option<Arc<dyn BusHandler>>>,
    channels: Channels,
    state: Arc<StateCell>,
    closed: Notify,
    /// The last probe that came back.
    heard: watch::Sender<u64>,
}

impl LinkGate {
    pub(super) fn new(bus_handler: Arc<dyn BusHandler>, channels: Channels, state: Arc<StateCell>) -> Self {
        let heard = watch::Sender::new(0);
        Self { bus_handler: Mutex::new(Some(bus_handler)), channels, state, closed: Notify::new(), heard }
    }

    /// Lets nothing through from now on.
    pub(super) fn shut(&self) {
        self.bus_handler.lock().take();
    }

    /// A subscription that stands already is confirmed once more.
    pub(super) fn confirm(&self, workspace: &WorkspaceId) {
        if let Some(bus_handler) = self.bus_handler.lock().as_ref() {
            bus_handler.confirmed(workspace);
        }
    }

    /// A subscription was refused.
    pub(super) fn refuse(&self, workspace: &WorkspaceId, reason: &str) {
        if let Some(bus_handler) = self.bus_handler.lock().as_ref() {
            bus_handler.refused(workspace, reason);
        }
    }

    /// Waits until the client library says that the connection is closed. Cancellation safe; for one waiter.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Waits until a probe of this number, or a later one, has come back. Cancellation safe.
    pub(super) async fn heard(&self, probe: u64) {
        // The sender lives as long as the gate.
        let _ = self.heard.subscribe().wait_for(|&heard| heard >= probe).await;
    }

    /// Takes what the server pushed: parse, deliver, never more. Runs where the socket is read.
    pub(super) fn push(&self, info: PushInfo) {
        let bus_handler = self.bus_handler.lock();
        let Some(bus_handler) = bus_handler.as_ref() else { return };
        let mut data = info.data.into_iter();
        let channel = match data.next() {
            Some(Value::BulkString(channel)) => channel,
            _ if info.kind == PushKind::Disconnection => {
                self.closed.notify_one();
                return;
            }
            _ => return,
        };
        match (info.kind, self.channels.owner(&channel), data.next()) {
            (PushKind::Message, Owner::Workspace(workspace), Some(Value::BulkString(payload))) => {
                bus_handler.message(&workspace, Bytes::from(payload));
            }
            (PushKind::Message, Owner::Probe, Some(Value::BulkString(number))) => {
                if let Some(number) = std::str::from_utf8(&number).ok().and_then(|text| text.parse().ok()) {
                    self.state.heard();
                    self.heard.send_replace(number);
                }
            }
            (PushKind::Message, Owner::Control, Some(Value::BulkString(order))) => {
                bus_handler.control(Bytes::from(order));
            }
            (PushKind::Subscribe, Owner::Control, _) => bus_handler.control_confirmed(),
            // The confirmation stands in line with the messages: what comes after it here was published after it.
            (PushKind::Subscribe, Owner::Workspace(workspace), _) => bus_handler.confirmed(&workspace),
            _ => {}
        }
    }
}
