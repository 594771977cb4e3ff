//! Delivery times, with an exemplar in each bucket.

use std::time::SystemTime;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;

use super::declare::{Declaration, Kind};

/// The histogram of delivery times. OpenMetrics alone shows its exemplars.
#[derive(Debug, Clone)]
pub struct DeliveryTimes(HistogramWithExemplars<ExemplarLabels>);

/// The labels of an exemplar. Names and values together have at most 128 characters (OpenMetrics
/// 1.0, "Exemplars"). A trace has 32, and an entry of a log 41 at most.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ExemplarLabels {
    /// The trace of a sampled event.
    pub trace_id: String,
    /// The entry of the event.
    pub event_id: String,
}

impl DeliveryTimes {
    /// Adds a time in seconds, and a sampled event for which it was measured.
    pub fn observe(&self, seconds: f64, exemplar: Option<ExemplarLabels>) {
        let at = exemplar.is_some().then(SystemTime::now);
        self.0.observe(seconds, exemplar, at);
    }
}

impl Kind for DeliveryTimes {
    type Registered = HistogramWithExemplars<ExemplarLabels>;

    fn create(declaration: &Declaration) -> Self {
        Self(HistogramWithExemplars::new(declaration.buckets.iter().copied()))
    }

    fn registered(&self) -> Self::Registered {
        self.0.clone()
    }
}
