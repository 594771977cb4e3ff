//! The memory that the rings of all workspaces share, or the pages of their logs.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;

/// A limit that all rings share, or all pages of logs. It reserves nothing: an owner beyond the
/// limit has to free memory of its own.
#[derive(Debug)]
pub(super) struct RingBudget {
    /// The bytes in use, as the metrics show them.
    used: Gauge,
    most: usize,
}

impl RingBudget {
    pub(super) fn new(used: Gauge, most: usize) -> Self {
        Self { used, most }
    }

    /// Adds bytes in use.
    pub(super) fn take(&self, bytes: usize) {
        self.used.inc_by(number(bytes));
    }

    /// Subtracts bytes that are free again.
    pub(super) fn give(&self, bytes: usize) {
        self.used.dec_by(number(bytes));
    }

    /// Whether more bytes are in use than allowed.
    pub(super) fn is_exceeded(&self) -> bool {
        self.used.get() > number(self.most)
    }

    /// Whether so many further bytes would exceed the limit.
    pub(super) fn lacks(&self, bytes: usize) -> bool {
        self.used.get().saturating_add(number(bytes)) > number(self.most)
    }
}

fn number(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The bytes of a budget that one owner uses until it is dropped.
#[derive(Debug)]
pub(super) struct RingShare {
    budget: Arc<RingBudget>,
    bytes: usize,
}

impl RingShare {
    /// Creates an empty share.
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

    /// Whether all shares together exceed the limit.
    pub(super) fn is_exceeded(&self) -> bool {
        self.budget.is_exceeded()
    }
}

impl Drop for RingShare {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}
