//! The counts of a shard, which it adds to the metrics together.

use tidings_metrics::Metrics;

/// Counts since they were last added to the metrics.
#[derive(Debug, Default)]
pub(super) struct EngineCounts {
    /// Events that streams got.
    pub(super) deliveries: u64,
    /// Bytes of frames that streams got.
    pub(super) bytes: u64,
    /// Writes to sockets, whether they took bytes or not.
    pub(super) writes: u64,
    /// The memory of all buffers now, in bytes, and the part that the metrics have.
    pub(super) unsent_bytes: usize,
    unsent_bytes_added: usize,
    /// The clients now whose sockets take no more bytes, and the part that the metrics have.
    pub(super) behind: usize,
    behind_added: usize,
}

impl EngineCounts {
    /// Adds the counts to the metrics and resets those of work that was done.
    pub(super) fn add_to(&mut self, metrics: &Metrics) {
        if self.bytes > 0 {
            metrics.deliveries.inc_by(std::mem::take(&mut self.deliveries));
            metrics.delivered_bytes.inc_by(std::mem::take(&mut self.bytes));
        }
        if self.writes > 0 {
            metrics.socket_writes.inc_by(std::mem::take(&mut self.writes));
        }
        let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
        if self.behind != self.behind_added {
            metrics.streams_behind.inc_by(signed(self.behind) - signed(self.behind_added));
            self.behind_added = self.behind;
        }
        if self.unsent_bytes != self.unsent_bytes_added {
            metrics.unsent_bytes.inc_by(signed(self.unsent_bytes) - signed(self.unsent_bytes_added));
            self.unsent_bytes_added = self.unsent_bytes;
        }
    }
}
