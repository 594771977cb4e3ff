//! The counters of forward auth.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Counts the decisions of forward auth. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct ForwardMetrics {
    outcomes: Family<OutcomeLabel, Counter>,
    /// The open requests to the app.
    pub in_flight: Gauge,
}

impl ForwardOutcome {
    const ALL: [Self; 4] = [Self::Allowed, Self::Denied, Self::Failed, Self::Cached];

    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Cached => "cached",
        }
    }
}

impl ForwardMetrics {
    /// Creates counters at zero and adds them to a registry.
    pub fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for outcome in ForwardOutcome::ALL {
            metrics.counter(outcome);
        }
        registry.register("forward", "Decisions of the app, by outcome", metrics.outcomes.clone());
        registry.register("forward_in_flight", "Open requests to the app", metrics.in_flight.clone());
        metrics
    }

    /// Counts one decision.
    pub fn count(&self, outcome: ForwardOutcome) {
        self.counter(outcome).inc();
    }

    /// Returns the number of decisions with an outcome.
    #[must_use]
    pub fn counted(&self, outcome: ForwardOutcome) -> u64 {
        self.counter(outcome).get()
    }

    fn counter(&self, outcome: ForwardOutcome) -> Counter {
        self.outcomes.get_or_create_owned(&OutcomeLabel { outcome: outcome.as_str() })
    }
}
