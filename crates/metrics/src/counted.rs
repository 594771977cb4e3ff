//! An open connection in the metrics.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;

use super::Metrics;

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub struct Counted(Arc<Metrics>);

impl Counted {
    /// Counts an accepted connection.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        metrics.connections.inc();
        metrics.connections_accepted.inc();
        Self(metrics)
    }

    /// Returns the counter of writes to which the connection adds.
    #[must_use]
    pub fn writes(&self) -> Counter {
        self.0.socket_writes.clone()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
