//! Announces this node to all others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::responder::QuestionResponder;
use tidings_bus::{Bus, SetChange, SharedSet};
use tidings_metrics::Throttle;

/// The time between two announcements.
const PERIOD: Duration = Duration::from_secs(3);

/// The time after which an announcement expires by the clock of the bus: three periods and a
/// second. So one that is late or lost removes no node from the list.
const LIFETIME: Duration = Duration::from_secs(10);

/// The longest wait for the removal of the announcement when the node stops.
const REMOVAL_TIMEOUT: Duration = Duration::from_millis(500);

/// Announces a node every three seconds, and removes the announcement at the end.
#[derive(Debug)]
pub struct NodeAnnouncer {
    bus: Arc<dyn Bus>,
    responder: Arc<QuestionResponder>,
    /// The announcement that the store has, as far as the node knows.
    current: Bytes,
    failed_log: Throttle,
}

impl NodeAnnouncer {
    /// Creates an announcer. [`run`](Self::run) has to run.
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>, responder: Arc<QuestionResponder>) -> Self {
        Self { bus, responder, current: Bytes::new(), failed_log: Throttle::default() }
    }

    /// Announces the node until `stop` is cancelled. The bus has to run until this returns.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => break,
            }
            let announcement = self.responder.report().encode();
            let change =
                SetChange { remove: self.current.clone(), add: announcement.clone(), lifetime: LIFETIME };
            let changed = tokio::select! {
                changed = self.bus.change_set(SharedSet::Nodes, change) => changed,
                () = stop.cancelled() => {
                    // The store may have it already.
                    self.current = announcement;
                    break;
                }
            };
            match changed {
                Ok(()) => self.current = announcement,
                Err(error) => {
                    // The state of the bus has lines of its own.
                    if let Some(silenced) = self.failed_log.pass() {
                        tracing::debug!(%error, silenced, "the node could not announce itself");
                    }
                }
            }
        }
        let removal = SetChange { remove: self.current, ..SetChange::default() };
        // A node that cannot reach the bus leaves the list when its announcement expires.
        let _ = timeout(REMOVAL_TIMEOUT, self.bus.change_set(SharedSet::Nodes, removal)).await;
    }
}
