//! The counters of rejected requests, by request and reason.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::declare::{Declaration, Kind};

/// A counter for each kind of request and reason.
#[derive(Debug, Clone)]
pub(crate) struct Rejections(Family<RejectionLabels, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RejectionLabels {
    request: &'static str,
    reason: &'static str,
}

impl Rejections {
    /// Counts a request.
    pub(crate) fn inc(&self, request: &'static str, reason: &'static str) {
        self.0.get_or_create(&RejectionLabels { request, reason }).inc();
    }

    /// Creates a series.
    pub(crate) fn create(&self, request: &'static str, reason: &'static str) {
        let _created = self.0.get_or_create(&RejectionLabels { request, reason });
    }
}

impl Kind for Rejections {
    type Registered = Family<RejectionLabels, Counter>;

    fn create(_: &Declaration) -> Self {
        Self(Family::default())
    }

    fn registered(&self) -> Self::Registered {
        self.0.clone()
    }
}
