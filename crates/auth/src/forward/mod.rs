//! `auth.mode = "forward"`: the app is asked who may come in. `docs/guides/cookies-of-your-app.md` is the app's side of it.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`auth_request`](AuthRequest) | what the app is told of a client's request, and the digest of a question |
//! | `client` | requests to the app |
//! | `answer` | what an answer means, and for how long it may be used |
//! | `cache` | answers that may be used again |
//! | `slots` | requests at a time, in turns by client address |
//! | `in_flight` | questions under way, so that all who have the same one share one request |

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

mod answer;
mod auth_request;
mod cache;
mod client;
mod config;
mod in_flight;
mod slots;
#[cfg(test)]
mod tests;

pub use answer::Decision;
use answer::{AppResponse, NoAnswer, Verdict, unavailable};
pub use auth_request::AuthRequest;
use client::{AppClient, Question};
pub use config::{ForwardConfig, ForwardUrl};
use in_flight::{Freshness, InFlightGuard, InFlightRequests, Lookup, RequestOutcome};
use slots::{AddressTurn, Crowded, RequestSlot, Slots};

use crate::{Action, Denial, DenialReason};
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::{ForwardMetrics, ForwardOutcome, Throttle};

/// Asks the app who may come in. A clone shares connections, questions and answers.
#[derive(Clone)]
pub struct ForwardAuth(Arc<Inner>);

struct Inner {
    url: ForwardUrl,
    timeout: Duration,
    cache_max: Duration,
    /// The configured further headers.
    extra: Vec<HeaderName>,
    app: AppClient,
    /// Requests for newcomers under way, and such for open streams beyond their share.
    slots: Arc<Slots>,
    /// The share of requests that only open streams get.
    recheck_slots: Semaphore,
    in_flight: Arc<InFlightRequests>,
    metrics: ForwardMetrics,
    failures: Throttle,
}

/// Why the app cannot be asked with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS cannot be prepared.
    #[error("cannot prepare TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A name in `auth.forward.headers` is none; a configuration that was checked has no such name.
    #[error("not the name of a header: {0}")]
    Header(#[from] http::header::InvalidHeaderName),
}

impl ForwardAuth {
    /// Prepares asking. Opens no connection. For https it reads the system's authorities, and thus blocks.
    ///
    /// # Errors
    ///
    /// [`SetupError`], when TLS has no use for this system, or a configured header is none.
    pub fn new(config: &ForwardConfig, metrics: ForwardMetrics) -> Result<Self, SetupError> {
        Self::with_share(config, 0, metrics)
    }

    /// The same, with a quarter of the requests for [`Self::ask_again`] alone, so that newcomers cannot end open streams.
    ///
    /// # Errors
    ///
    /// As those of [`Self::new`].
    pub fn with_rechecks(config: &ForwardConfig, metrics: ForwardMetrics) -> Result<Self, SetupError> {
        let share = (config.concurrent / 4).max(1).min(config.concurrent / 2);
        Self::with_share(config, share, metrics)
    }

    fn with_share(config: &ForwardConfig, share: usize, metrics: ForwardMetrics) -> Result<Self, SetupError> {
        let timeout = config.timeout_seconds.duration();
        let extra: Result<_, _> =
            config.headers.iter().map(|name| HeaderName::from_bytes(name.as_bytes())).collect();
        Ok(Self(Arc::new(Inner {
            url: config.url.clone(),
            timeout,
            cache_max: config.cache_max_seconds.duration(),
            extra: extra?,
            app: AppClient::new(timeout, config.concurrent, config.url.is_https())?,
            slots: Slots::new(config.concurrent - share, config.queue.saturating_add(share)),
            recheck_slots: Semaphore::new(share),
            in_flight: Arc::new(InFlightRequests::new(config.cache_entries)),
            metrics,
            failures: Throttle::default(),
        })))
    }

    /// Takes from a client's request what the app is told of it. `client` is the client's address, that of a trusted proxy
    /// resolved; `proto` is `http` or `https`, `host` the host that the client asked, `uri` its path and query, of which
    /// the values of `token` and `ticket` are left out.
    #[must_use]
    pub fn auth_request(
        &self,
        headers: &HeaderMap,
        client: std::net::IpAddr,
        proto: &str,
        host: Option<&str>,
        uri: &str,
    ) -> AuthRequest {
        AuthRequest::new(&self.0.extra, headers, client, proto, host, uri)
    }

    /// Asks whether a client may do something with a workspace, or uses what the app said before, where the app allowed
    /// that. Takes `auth.forward.timeout_seconds` at most.
    ///
    /// May be dropped at any time: others who wait for the same answer get it nevertheless.
    ///
    /// # Errors
    ///
    /// The [`Denial`]: [`DenialReason::App`] for 401 and 403, [`DenialReason::Publish`] where the app lets read only, and
    /// [`DenialReason::AppUnavailable`], which may pass, where there is no answer that counts.
    pub async fn ask(
        &self,
        workspace: &WorkspaceId,
        action: Action,
        auth_request: &AuthRequest,
    ) -> Result<Decision, Denial> {
        self.decide(workspace, action, auth_request, Freshness::Kept).await
    }

    /// The same, but never by an answer that was given before: the app is asked, or an answer is awaited for which it is
    /// being asked at this moment. What it says replaces what it said before.
    ///
    /// # Errors
    ///
    /// As those of [`Self::ask`].
    pub async fn ask_again(
        &self,
        workspace: &WorkspaceId,
        action: Action,
        auth_request: &AuthRequest,
    ) -> Result<Decision, Denial> {
        self.decide(workspace, action, auth_request, Freshness::New).await
    }

    async fn decide(
        &self,
        workspace: &WorkspaceId,
        action: Action,
        auth_request: &AuthRequest,
        freshness: Freshness,
    ) -> Result<Decision, Denial> {
        let inner = &self.0;
        let Some(uri) = inner.url.of(workspace) else {
            return Err(Denial::forbidden(
                DenialReason::App,
                "the app cannot be asked about a workspace of this name",
            ));
        };
        let found = inner.in_flight.find(auth_request.key(workspace, action), freshness, |in_flight_guard| {
            let question =
                Question { uri, workspace: workspace.clone(), action, auth_request: auth_request.clone() };
            Arc::clone(inner).fly(in_flight_guard, question, freshness).boxed()
        });
        let outcome = match found {
            Lookup::Answer(answer) => {
                inner.metrics.count(ForwardOutcome::Cached);
                return answer.decide();
            }
            Lookup::InFlightRequest(flight) => flight.await,
        };
        outcome.map_or_else(|_| Err(unavailable()), |answer| answer.decide())
    }
}

impl Inner {
    /// Brings one answer: waits for a slot, asks, and leaves the answer in the book. In the log and the counters it
    /// stands once, however many wait for it.
    async fn fly(
        self: Arc<Self>,
        in_flight_guard: InFlightGuard,
        question: Question,
        freshness: Freshness,
    ) -> RequestOutcome {
        let outcome = match tokio::time::timeout(self.timeout, self.exchange(&question, freshness)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(NoAnswer::Timeout(self.timeout)),
        };
        match &outcome {
            Ok(AppResponse { verdict: Verdict::LetIn(_), .. }) => self.metrics.count(ForwardOutcome::Allowed),
            Ok(_) => self.metrics.count(ForwardOutcome::Denied),
            Err(no_answer) => self.fail(no_answer),
        }
        in_flight_guard.land(&outcome);
        outcome
    }

    async fn exchange(&self, question: &Question, freshness: Freshness) -> RequestOutcome {
        let busy = |Crowded| NoAnswer::Busy;
        let _slot = match freshness {
            Freshness::Kept => {
                let turn = AddressTurn::Address(question.auth_request.address());
                AnySlot::Shared(self.slots.acquire(turn).await.map_err(busy)?)
            }
            Freshness::New => tokio::select! {
                biased;
                // The semaphore is never closed.
                slot = self.recheck_slots.acquire() => AnySlot::Recheck(slot.map_err(|_| NoAnswer::Busy)?),
                slot = self.slots.acquire(AddressTurn::Recheck) => AnySlot::Shared(slot.map_err(busy)?),
            },
        };
        let _counted = CountedRequest::new(&self.metrics);
        let asked = Instant::now();
        let head = self.app.ask(question).await.map_err(NoAnswer::Unreachable)?;
        AppResponse::read(&head, question.action, asked, self.cache_max)
    }

    fn fail(&self, no_answer: &NoAnswer) {
        self.metrics.count(ForwardOutcome::Failed);
        if let Some(silenced) = self.failures.pass() {
            tracing::warn!(
                url = %self.url,
                error = %no_answer,
                silenced,
                "the app gave no answer that counts: nobody new is let in by it"
            );
        }
    }
}

/// A slot of either kind, until it is dropped.
enum AnySlot<'a> {
    Recheck(#[expect(dead_code, reason = "kept for its drop")] SemaphorePermit<'a>),
    Shared(#[expect(dead_code, reason = "kept for its drop")] RequestSlot),
}

/// A request under way, counted as long as it is.
struct CountedRequest<'a>(&'a ForwardMetrics);

impl<'a> CountedRequest<'a> {
    fn new(metrics: &'a ForwardMetrics) -> Self {
        metrics.in_flight.inc();
        Self(metrics)
    }
}

impl Drop for CountedRequest<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

impl fmt::Debug for ForwardAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardAuth").field("url", &self.0.url).finish_non_exhaustive()
    }
}
