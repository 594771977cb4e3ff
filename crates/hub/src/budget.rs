//! The memory that recent events of all workspaces, or pages of their logs, may take together.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;

/// A bound that all rings share, or all pages of logs. It is not a reservation: who goes beyond it is expected to give something of
/// its own back.
#[derive(Debug)]
pub(super) struct RingBudget {
    /// Bytes in use, as it stands in the metrics.
    used: Gauge,
    most: usize,
}

impl RingBudget {
    pub(super) fn new(used: Gauge, most: usize) -> Self {
        Self { used, most }
    }

    /// These bytes are used now.
    pub(super) fn take(&self, bytes: usize) {
        self.used.inc_by(number(bytes));
    }

    /// These bytes are not used any more.
    pub(super) fn give(&self, bytes: usize) {
        self.used.dec_by(number(bytes));
    }

    /// Whether more is used than may be.
    pub(super) fn is_exceeded(&self) -> bool {
        self.used.get() > number(self.most)
    }

    /// Whether so many bytes more would be too many.
    pub(super) fn lacks(&self, bytes: usize) -> bool {
        self.used.get().saturating_add(number(bytes)) > number(self.most)
    }
}

fn number(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Bytes of the budget that are used for as long as this lives.
#[derive(Debug)]
pub(super) struct RingShare {
    budget: Arc<RingBudget>,
    bytes: usize,
}

impl RingShare {
    /// Nothing yet.
    pub(super) fn new(budget: Arc<RingBudget>) -> Self {
        Self { budget, bytes: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn grow(&mut self, bytes: usize) {
        self.budget.take(bytes);
        self.bytes += bytes;
    }

    pub(super) fn shrink(&mut self, bytes: usize) {
        self.budget.give(bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether all shares together are more than may be.
    pub(super) fn is_exceeded(&self) -> bool {
        self.budget.is_exceeded()
    }
}

impl Drop for RingShare {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}
