//! The counters of forward auth.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::Metrics;
use super::declare::CounterBy;

/// The outcome of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardOutcome {
    /// The app accepted the client.
    Allowed,
    /// The app rejected the client.
    Denied,
    /// The app gave no valid response.
    Failed,
    /// The node used an earlier response again.
    Cached,
}

/// Counts the decisions of forward auth. Clones share the counters.
#[derive(Debug, Clone)]
pub struct ForwardMetrics {
    decisions: CounterBy,
    /// The open requests to the app.
    pub in_flight: Gauge,
    /// The time of a request to the app, in seconds.
    pub seconds: Histogram,
}

impl ForwardOutcome {
    pub(crate) const VALUES: [&str; 4] =
        [Self::Allowed.as_str(), Self::Denied.as_str(), Self::Failed.as_str(), Self::Cached.as_str()];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Cached => "cached",
        }
    }
}

impl ForwardMetrics {
    pub(crate) fn new(decisions: CounterBy, in_flight: Gauge, seconds: Histogram) -> Self {
        Self { decisions, in_flight, seconds }
    }

    /// Counts one decision.
    pub fn count(&self, outcome: ForwardOutcome) {
        self.decisions.inc(outcome.as_str());
    }

    /// Returns the number of decisions with an outcome.
    #[must_use]
    pub fn counted(&self, outcome: ForwardOutcome) -> u64 {
        self.decisions.get(outcome.as_str())
    }
}

impl Default for ForwardMetrics {
    /// Creates counters at zero that no node shows.
    fn default() -> Self {
        Metrics::new().forward()
    }
}
