//! The state of a node that the admin paths show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::openapi::{self, ApiSettings};
use super::ready;
use tidings_bus::Bus;
use tidings_event::NodeId;
use tidings_metrics::Metrics;

/// The probe intervals without a probe's return after which a node is not ready.
const PROBES_MISSED_MAX: u32 = 3;

/// A broker process.
pub struct Node {
    pub(super) id: NodeId,
    pub(super) began: Instant,
    pub(super) bus: Arc<dyn Bus>,
    metrics: Arc<Metrics>,
    /// The longest time without a probe's return in which the node is ready.
    silence_max: Duration,
    draining: AtomicBool,
    openapi: String,
}

impl Node {
    /// Creates the state of a node that starts now. `probe` is the interval at which the bus is
    /// probed; `api` describes the public listener.
    #[must_use]
    pub fn new(
        id: NodeId,
        bus: Arc<dyn Bus>,
        metrics: Arc<Metrics>,
        probe: Duration,
        api: &ApiSettings,
    ) -> Self {
        let silence_max = probe * PROBES_MISSED_MAX;
        let (draining, openapi) = (AtomicBool::new(false), openapi::document(api));
        Self { id, began: Instant::now(), bus, metrics, silence_max, draining, openapi }
    }

    /// Returns the id of the node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Returns the time since the node started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// Marks the node as draining; it is not ready from now on.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns the reasons for which the node is not ready; none if it is ready.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        ready::unready(&self.bus.state(), self.is_draining(), self.silence_max)
    }

    /// Whether the node drains.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The document of `/openapi.json`.
    pub(super) fn openapi(&self) -> &str {
        &self.openapi
    }

    /// The counters of the node.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("id", &self.id).finish_non_exhaustive()
    }
}
