//! The gate between a link for events and the `BusHandler`.
//!
//! The gate passes messages on until the link is given up. A link that was silent may still contain
//! old messages, which must not follow newer ones.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::{Notify, watch};

use super::channel::{Channels, Owner};
use crate::StateCell;
use tidings_event::BusHandler;
use tidings_event::workspace::WorkspaceId;

/// Passes the messages of one link on to a `BusHandler`.
pub(super) struct LinkGate {
    /// `None` once the gate is closed. The lock is held while the handler runs, so `close` waits
    /// for it.
    bus_handler: Mutex<Option<Arc<dyn BusHandler>>>,
    channels: Channels,
    state: Arc<StateCell>,
    disconnected: Notify,
    /// The number of the last probe that was received.
    last_probe: watch::Sender<u64>,
}

impl LinkGate {
    pub(super) fn new(bus_handler: Arc<dyn BusHandler>, channels: Channels, state: Arc<StateCell>) -> Self {
        let last_probe = watch::Sender::new(0);
        Self {
            bus_handler: Mutex::new(Some(bus_handler)),
            channels,
            state,
            disconnected: Notify::new(),
            last_probe,
        }
    }

    /// Closes the gate: no message passes any more.
    pub(super) fn close(&self) {
        self.bus_handler.lock().take();
    }

    /// Confirms an existing subscription again.
    pub(super) fn confirm(&self, workspace: &WorkspaceId) {
        if let Some(bus_handler) = self.bus_handler.lock().as_ref() {
            bus_handler.confirmed(workspace);
        }
    }

    /// Reports that a subscription was rejected.
    pub(super) fn reject(&self, workspace: &WorkspaceId, reason: &str) {
        if let Some(bus_handler) = self.bus_handler.lock().as_ref() {
            bus_handler.refused(workspace, reason);
        }
    }

    /// Waits until the client library reports that the connection is closed. Cancellation safe, for
    /// one waiter.
    pub(super) async fn disconnected(&self) {
        self.disconnected.notified().await;
    }

    /// Waits until a probe with this number or a later one was received. Cancellation safe.
    pub(super) async fn probe_received(&self, probe: u64) {
        // The sender lives as long as the gate, so this cannot fail.
        let _ = self.last_probe.subscribe().wait_for(|&last| last >= probe).await;
    }

    /// Parses and passes on one message of the server. It runs in the task that reads the socket,
    /// so it must return quickly.
    pub(super) fn push(&self, info: PushInfo) {
        let bus_handler = self.bus_handler.lock();
        let Some(bus_handler) = bus_handler.as_ref() else { return };
        let mut data = info.data.into_iter();
        let channel = match data.next() {
            Some(Value::BulkString(channel)) => channel,
            _ if info.kind == PushKind::Disconnection => {
                self.disconnected.notify_one();
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
                    self.state.set_received();
                    self.last_probe.send_replace(number);
                }
            }
            (PushKind::Message, Owner::Control, Some(Value::BulkString(command))) => {
                bus_handler.control(Bytes::from(command));
            }
            (PushKind::Subscribe, Owner::Control, _) => bus_handler.control_confirmed(),
            // The server sends confirmations in order with the messages, so later messages were
            // published later.
            (PushKind::Subscribe, Owner::Workspace(workspace), _) => bus_handler.confirmed(&workspace),
            _ => {}
        }
    }
}
