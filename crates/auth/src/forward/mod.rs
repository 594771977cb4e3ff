//! `auth.mode = "forward"`: the app decides about each request.
//! `docs/guides/cookies-of-your-app.md` describes the app's part.
//!
//! | part | contents |
//! | --- | --- |
//! | [`auth_request`](AuthRequest) | the data of a client's request for the app, and its digest |
//! | `client` | requests to the app |
//! | `answer` | the meaning of a response, and the time for which it may be used |
//! | `cache` | responses that may be used again |
//! | `slots` | the requests at a time, in turns by client address |
//! | `in_flight` | open requests, which clients with equal requests share |

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
use answer::{AppResponse, NoResponse, Verdict, unavailable};
pub use auth_request::AuthRequest;
use client::{AppClient, AppRequest};
pub use config::{ForwardConfig, ForwardUrl};
use in_flight::{Freshness, InFlightGuard, InFlightRequests, Lookup, RequestOutcome};
use slots::{AddressTurn, Crowded, RequestSlot, Slots};

use crate::{Action, Denial, DenialReason};
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::{ForwardMetrics, ForwardOutcome, Throttle};

/// Authenticates clients with the app. Clones share connections, requests and responses.
#[derive(Clone)]
pub struct ForwardAuth(Arc<Inner>);

struct Inner {
    url: ForwardUrl,
    timeout: Duration,
    cache_max: Duration,
    /// The configured further headers.
    extra: Vec<HeaderName>,
    app: AppClient,
    /// The slots of requests for new clients. Checks of open streams beyond their share use them
    /// too.
    slots: Arc<Slots>,
    /// The slots for checks of open streams only.
    recheck_slots: Semaphore,
    in_flight: Arc<InFlightRequests>,
    metrics: ForwardMetrics,
    failures: Throttle,
}

/// The reason for which a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A name in `auth.forward.headers` is not a header name. Validation of the configuration
    /// rejects it earlier.
    #[error("auth.forward.headers has an item that is not the name of a header: {0}")]
    Header(#[from] http::header::InvalidHeaderName),
}

impl ForwardAuth {
    /// Creates a client of the app without connecting. For https it reads the system's authorities,
    /// and so blocks.
    ///
    /// # Errors
    ///
    /// Returns a [`SetupError`] if TLS cannot be set up or a configured header name is invalid.
    pub fn new(config: &ForwardConfig, metrics: ForwardMetrics) -> Result<Self, SetupError> {
        Self::with_share(config, 0, metrics)
    }

    /// Like [`Self::new`], but reserves a quarter of the requests for [`Self::ask_again`]. So new
    /// clients cannot end open streams.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Self::new`].
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

    /// Copies the data for the app from a client's request.
    ///
    /// `client` is the client's address, behind trusted proxies too. `proto` is `http` or `https`,
    /// `host` the host in the request, `uri` its path and query. The values of `token` and `ticket`
    /// are left out.
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

    /// Asks the app whether a client may do something with a workspace, or uses an earlier response
    /// if the app allowed that. Takes at most `auth.forward.timeout_seconds`.
    ///
    /// Cancellation safe: other clients that wait for the same response get it nevertheless.
    ///
    /// # Errors
    ///
    /// Returns a [`Denial`]. The reason is [`DenialReason::App`] for 401 and 403,
    /// [`DenialReason::Publish`] if the app allows reading only, and
    /// [`DenialReason::AppUnavailable`], which is temporary, without a valid response.
    pub async fn ask(
        &self,
        workspace: &WorkspaceId,
        action: Action,
        auth_request: &AuthRequest,
    ) -> Result<Decision, Denial> {
        self.decide(workspace, action, auth_request, Freshness::Cached).await
    }

    /// Like [`Self::ask`], but without an earlier response: it sends a request or waits for an open
    /// one. The response replaces earlier ones.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Self::ask`].
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
        let Some(uri) = inner.url.for_workspace(workspace) else {
            return Err(Denial::forbidden(
                DenialReason::App,
                "auth.forward.url cannot contain this workspace id: use another id",
            ));
        };
        let found = inner.in_flight.find(auth_request.key(workspace, action), freshness, |in_flight_guard| {
            let request =
                AppRequest { uri, workspace: workspace.clone(), action, auth_request: auth_request.clone() };
            Arc::clone(inner).run_request(in_flight_guard, request, freshness).boxed()
        });
        let outcome = match found {
            Lookup::Response(response) => {
                inner.metrics.count(ForwardOutcome::Cached);
                return response.decide();
            }
            Lookup::InFlightRequest(request) => request.await,
        };
        outcome.map_or_else(|_| Err(unavailable()), |response| response.decide())
    }
}

impl Inner {
    /// Runs one request: waits for a slot, sends the request, and stores the response. It logs and
    /// counts once for all clients that wait.
    async fn run_request(
        self: Arc<Self>,
        in_flight_guard: InFlightGuard,
        request: AppRequest,
        freshness: Freshness,
    ) -> RequestOutcome {
        let began = Instant::now();
        let outcome = match tokio::time::timeout(self.timeout, self.request(&request, freshness)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(NoResponse::Timeout(self.timeout)),
        };
        self.metrics.seconds.observe(began.elapsed().as_secs_f64());
        match &outcome {
            Ok(AppResponse { verdict: Verdict::Accepted(_), .. }) => {
                self.metrics.count(ForwardOutcome::Allowed)
            }
            Ok(_) => self.metrics.count(ForwardOutcome::Denied),
            Err(no_response) => self.fail(no_response),
        }
        in_flight_guard.finish(&outcome);
        outcome
    }

    async fn request(&self, request: &AppRequest, freshness: Freshness) -> RequestOutcome {
        let busy = |Crowded| NoResponse::Busy;
        let _slot = match freshness {
            Freshness::Cached => {
                let turn = AddressTurn::Address(request.auth_request.address());
                AnySlot::Shared(self.slots.acquire(turn).await.map_err(busy)?)
            }
            Freshness::New => tokio::select! {
                biased;
                // The semaphore is never closed, so this does not fail.
                slot = self.recheck_slots.acquire() => AnySlot::Recheck(slot.map_err(|_| NoResponse::Busy)?),
                slot = self.slots.acquire(AddressTurn::Recheck) => AnySlot::Shared(slot.map_err(busy)?),
            },
        };
        let _counted = CountedRequest::new(&self.metrics);
        let asked = Instant::now();
        let head = self.app.send(request).await.map_err(NoResponse::Unreachable)?;
        AppResponse::read(&head, request.action, asked, self.cache_max)
    }

    fn fail(&self, no_response: &NoResponse) {
        self.metrics.count(ForwardOutcome::Failed);
        if let Some(silenced) = self.failures.pass() {
            tracing::warn!(
                url = %self.url,
                error = %no_response,
                silenced,
                "the app gave no valid response: it accepts no new client"
            );
        }
    }
}

/// Holds a slot of either kind until it is dropped.
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
