//! Builds the hub, with the reads of logs and the removals beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::http::PublishRate;
use crate::log_reader::LogReaderSettings;
use tidings_event::{DesiredSubscriptions, NodeId};
use tidings_hub::{Hub, HubSettings, WatchList};
use tidings_metrics::Metrics;

/// How often workspaces without subscribers are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The hub of a node.
#[derive(Debug)]
pub(super) struct NodeHub {
    /// The hub. A log reader, a writer of marks and [`sweep`] have to run beside it.
    pub(super) hub: Arc<Hub>,
    /// The settings of the log reader.
    pub(super) log_reader: LogReaderSettings,
}

impl NodeHub {
    /// Creates a hub without workspaces.
    pub(super) fn new(
        node: NodeId,
        settings: HubSettings,
        log_reader: LogReaderSettings,
        desired_subscriptions: Arc<DesiredSubscriptions>,
        watch_list: Option<Arc<WatchList>>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let hub = Hub::new(node, settings, desired_subscriptions, Arc::clone(metrics));
        let hub = Arc::new(hub.watched_by(watch_list));
        Self { hub, log_reader }
    }
}

/// Removes workspaces without clients and publish rates without recent use, again and again.
pub(super) async fn sweep(hub: Arc<Hub>, publish_rate: Arc<PublishRate>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                hub.sweep(Instant::now());
                publish_rate.forget_idle();
            }
            () = stop.cancelled() => return,
        }
    }
}
