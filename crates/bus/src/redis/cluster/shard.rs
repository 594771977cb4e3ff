//! What the placement, the session of a primary and the state of the bus share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::super::channel::Channels;
use super::control::ControlCopies;
use super::refresher::Refresher;
use super::servers::{ClusterServer, Servers};
use super::view::ServerId;
use crate::settings::RedisConfig;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{BusHandler, SubscriptionChange};
use tidings_metrics::Metrics;

/// One primary, and the part of the subscriptions that belongs to its slots.
pub(super) struct ClusterShard {
    pub(super) id: ServerId,
    /// The server, whose address may change.
    pub(super) server: watch::Sender<Arc<ClusterServer>>,
    /// Changes that the session has not taken. They are bounded by the workspaces of the node.
    pub(super) changes: ShardChanges,
    pub(super) status: Mutex<ShardStatus>,
}

/// The state of a shard's session.
#[derive(Debug, Clone)]
pub(super) struct ShardStatus {
    pub(super) link: ShardLinkState,
    /// Workspaces that the session has to be subscribed to, and those that are confirmed.
    pub(super) wanted: usize,
    pub(super) confirmed: usize,
    /// The number of rejected workspaces, and the last reason.
    pub(super) refused: Option<(usize, String)>,
    pub(super) probe_refused: Option<String>,
    pub(super) subscription_refused: Option<String>,
    pub(super) control_refused: Option<String>,
    /// When a probe or, without them, a reply last arrived over this link.
    pub(super) received_at: Option<Instant>,
    pub(super) server_name: Option<String>,
    /// The clock of this machine minus that of the server, in seconds.
    pub(super) clock_difference: Option<f64>,
    pub(super) function: Option<String>,
}

/// The state of the link for events of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ShardLinkState {
    Down(String),
    /// The subscriptions are not complete, or no probe has returned yet.
    Subscribing,
    Up,
}

/// The state that all sessions share.
pub(super) struct ClusterShared {
    pub(super) channels: Channels,
    pub(super) config: RedisConfig,
    pub(super) servers: Arc<Servers>,
    pub(super) refresher: Refresher,
    pub(super) handler: Arc<dyn BusHandler>,
    pub(super) returned: Returned,
    pub(super) control: ControlCopies,
    pub(super) metrics: Arc<Metrics>,
}

/// Changes of the workspaces of one shard, at most one for each.
#[derive(Default)]
pub(super) struct ShardChanges {
    open: Mutex<HashMap<WorkspaceId, SubscriptionChange>>,
    changed: Notify,
}

/// Workspaces that sessions have given back, each with its session. The session makes no more calls
/// for it.
#[derive(Default)]
pub(super) struct Returned {
    workspaces: Mutex<HashSet<(WorkspaceId, ServerId)>>,
    changed: Notify,
}

impl ClusterShard {
    pub(super) fn new(id: ServerId, server: Arc<ClusterServer>) -> Self {
        let status = ShardStatus::down("not connected yet".to_owned());
        Self {
            id,
            server: watch::Sender::new(server),
            changes: ShardChanges::default(),
            status: Mutex::new(status),
        }
    }
}

impl ShardStatus {
    /// The state without a link. Nothing is known of the server.
    pub(super) fn down(error: String) -> Self {
        Self {
            link: ShardLinkState::Down(error),
            wanted: 0,
            confirmed: 0,
            refused: None,
            probe_refused: None,
            subscription_refused: None,
            control_refused: None,
            received_at: None,
            server_name: None,
            clock_difference: None,
            function: None,
        }
    }
}

impl ShardChanges {
    /// Adds a change in place of an earlier one.
    pub(super) fn push(&self, workspace: WorkspaceId, change: SubscriptionChange) {
        self.open.lock().insert(workspace, change);
        self.changed.notify_one();
    }

    /// Waits for changes and returns them. Cancellation safe, for one waiter.
    pub(super) async fn take(&self) -> HashMap<WorkspaceId, SubscriptionChange> {
        loop {
            let open = std::mem::take(&mut *self.open.lock());
            if !open.is_empty() {
                return open;
            }
            self.changed.notified().await;
        }
    }
}

impl Returned {
    /// Gives a workspace back.
    pub(super) fn push(&self, workspace: WorkspaceId, from: &ServerId) {
        self.workspaces.lock().insert((workspace, from.clone()));
        self.changed.notify_one();
    }

    /// Waits for workspaces and returns them. Cancellation safe, for one waiter.
    pub(super) async fn take(&self) -> HashSet<(WorkspaceId, ServerId)> {
        loop {
            let workspaces = std::mem::take(&mut *self.workspaces.lock());
            if !workspaces.is_empty() {
                return workspaces;
            }
            self.changed.notified().await;
        }
    }
}
