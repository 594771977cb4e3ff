//! The progress and the load of a running server, for its supervisor.

use std::sync::Arc;

use tidings_delivery::engine::Engine;
use tidings_metrics::Metrics;

/// Looks at a server from outside of its tasks.
#[derive(Debug, Clone)]
pub struct Monitor {
    metrics: Arc<Metrics>,
    engine: Option<Arc<Engine>>,
}

impl Monitor {
    pub(super) fn new(metrics: &Arc<Metrics>, engine: Option<&Arc<Engine>>) -> Self {
        Self { metrics: Arc::clone(metrics), engine: engine.cloned() }
    }

    /// Pings each shard of the engine. Returns the number of shards that have not received the ping
    /// of the call before this one.
    #[must_use]
    pub fn ping_shards(&self) -> usize {
        self.engine.as_ref().map_or(0, |engine| engine.ping())
    }

    /// A line for people: the open connections and streams.
    #[must_use]
    pub fn status(&self) -> String {
        format!("{} connections on the public listener", self.metrics.connections.get())
    }
}
