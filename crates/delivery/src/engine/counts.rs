//! What a shard counts by itself, and tells all at once.

use tidings_metrics::Metrics;

/// Counts since they were last told.
#[derive(Debug, Default)]
pub(super) struct EngineCounts {
    /// Events that streams were given.
    pub(super) deliveries: u64,
    /// Bytes of frames that streams were given.
    pub(super) bytes: u64,
    /// Calls that wrote to a socket, whether it took bytes or not.
    pub(super) writes: u64,
}

impl EngineCounts {
    /// Tells them, and begins anew.
    pub(super) fn tell(&mut self, metrics: &Metrics) {
        if self.bytes > 0 {
            metrics.deliveries.inc_by(std::mem::take(&mut self.deliveries));
            metrics.delivered_bytes.inc_by(std::mem::take(&mut self.bytes));
        }
        if self.writes > 0 {
            metrics.socket_writes.inc_by(std::mem::take(&mut self.writes));
        }
    }
}
