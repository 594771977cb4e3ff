//! The time of authentications, by method and outcome.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::declare::{Declaration, Kind, NewHistogram};

/// The way in which a request is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthenticationMethod {
    /// A token.
    Jwt,
    /// A request to the app.
    Forward,
    /// A ticket.
    Ticket,
}

/// The outcome of an authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthenticationOutcome {
    /// The client is authenticated and authorized.
    Accepted,
    /// It is not, and the same request never will be.
    Denied,
    /// A later request may succeed.
    Failed,
}

/// The histograms of all methods and outcomes. Clones share them.
#[derive(Debug, Clone)]
pub struct AuthenticationTimes(Family<AuthenticationLabels, Histogram, NewHistogram>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct AuthenticationLabels {
    method: AuthenticationMethod,
    outcome: AuthenticationOutcome,
}

impl AuthenticationTimes {
    /// Adds the time of one authentication.
    pub fn observe(&self, method: AuthenticationMethod, outcome: AuthenticationOutcome, time: Duration) {
        self.0.get_or_create(&AuthenticationLabels { method, outcome }).observe(time.as_secs_f64());
    }
}

impl Default for AuthenticationTimes {
    /// Creates histograms that no node shows.
    fn default() -> Self {
        super::Metrics::new().authentication.clone()
    }
}

impl Kind for AuthenticationTimes {
    type Registered = Family<AuthenticationLabels, Histogram, NewHistogram>;

    fn create(declaration: &Declaration) -> Self {
        use AuthenticationMethod::{Forward, Jwt, Ticket};
        use AuthenticationOutcome::{Accepted, Denied, Failed};

        let histograms = Family::new_with_constructor(NewHistogram(declaration.buckets));
        for method in [Jwt, Forward, Ticket] {
            for outcome in [Accepted, Denied, Failed] {
                let _created = histograms.get_or_create(&AuthenticationLabels { method, outcome });
            }
        }
        Self(histograms)
    }

    fn registered(&self) -> Self::Registered {
        self.0.clone()
    }
}

impl EncodeLabelValue for AuthenticationMethod {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let method = match self {
            Self::Jwt => "jwt",
            Self::Forward => "forward",
            Self::Ticket => "ticket",
        };
        method.encode(encoder)
    }
}

impl EncodeLabelValue for AuthenticationOutcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let outcome = match self {
            Self::Accepted => "accepted",
            Self::Denied => "denied",
            Self::Failed => "failed",
        };
        outcome.encode(encoder)
    }
}
