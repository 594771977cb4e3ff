//! What is counted of the app's decisions.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardOutcome {
    /// The app let in.
    Allowed,
    /// The app refused.
    Denied,
    /// There was no answer that counts.
    Failed,
    /// An answer that the app gave before was used again.
    Cached,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The counters of forward authentication. A clone counts into the same.
#[derive(Debug, Clone, Default)]
pub struct ForwardMetrics {
    outcomes: Family<OutcomeLabel, Counter>,
    /// Requests to the app that are under way.
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
    /// All counters at zero, written with those of a registry.
    pub fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for outcome in ForwardOutcome::ALL {
            metrics.counter(outcome);
        }
        registry.register("forward", "Questions to the app, by what came of them", metrics.outcomes.clone());
        registry.register("forward_in_flight", "Requests to the app under way", metrics.in_flight.clone());
        metrics
    }

    /// Counts one.
    pub fn count(&self, outcome: ForwardOutcome) {
        self.counter(outcome).inc();
    }

    /// How many there were.
    #[must_use]
    pub fn counted(&self, outcome: ForwardOutcome) -> u64 {
        self.counter(outcome).get()
    }

    fn counter(&self, outcome: ForwardOutcome) -> Counter {
        self.outcomes.get_or_create_owned(&OutcomeLabel { outcome: outcome.as_str() })
    }
}
