//! `POST …/tickets`: a ticket for a stream's URL.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use futures_util::Stream;
use http::StatusCode;
use http::header::{self, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use warp::reply::Response;

use crate::http::request::body::{self, BodyReceiver};
use crate::http::request::path;
use crate::http::request::request_context::RequestContext;
use crate::http::response::cors::CorsRules;
use crate::http::response::denied;
use crate::http::response::problem::Problem;
use tidings_auth::tickets::IssueError;
use tidings_auth::{Action, Authenticator};
use tidings_event::Keys;
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::Metrics;

/// The most that a request for a ticket has to say, in bytes.
const BODY_BYTES_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketRequest {
    workspace: String,
}

/// Issues tickets.
#[derive(Debug)]
pub struct TicketHandler {
    /// Authenticates clients, and has the tickets.
    pub authenticator: Arc<Authenticator>,
    /// The origins whose pages may get tickets.
    pub origins: Arc<CorsRules>,
    /// Receives the requests.
    pub bodies: Arc<BodyReceiver>,
    /// The time after which a client tries again, if the node cannot serve it now.
    pub retry: Duration,
    /// The counters of the node.
    pub metrics: Arc<Metrics>,
}

impl TicketHandler {
    /// Issues a ticket to a client that may read the workspace. Leaves the workspace in `named`, as
    /// soon as it is known.
    pub(super) async fn issue<B: Buf>(
        &self,
        request_context: &RequestContext,
        stream: impl Stream<Item = Result<B, warp::Error>>,
        named: &mut Option<WorkspaceId>,
    ) -> Result<Response, Problem> {
        let mut stream = std::pin::pin!(stream);
        let outcome = self.grant(request_context, stream.as_mut(), named).await;
        body::unless_refused(outcome, stream, request_context).await
    }

    async fn grant<B: Buf>(
        &self,
        request_context: &RequestContext,
        stream: impl Stream<Item = Result<B, warp::Error>>,
        named: &mut Option<WorkspaceId>,
    ) -> Result<Response, Problem> {
        if let Some(exceeded) = request_context.peer.exceeded {
            return Err(Problem::unavailable(exceeded.to_string(), self.retry).at_limit(exceeded.reason()));
        }
        // A page elsewhere must not get a ticket with its visitor's cookie.
        request_context.check_sender(&self.origins)?;
        let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, "bad-ticket-request", detail);
        let too_large = || bad("the body names the workspace and has at most 4096 bytes");
        let body =
            self.bodies.receive(request_context, Keys::default(), stream, BODY_BYTES_MAX, too_large).await?;
        let wish: TicketRequest = serde_json::from_slice(&body.bytes)
            .map_err(|_| bad(r#"the body is JSON that names the workspace: {"workspace":"acme"}"#))?;
        let workspace = path::workspace(&wish.workspace)?;
        *named = Some(workspace.clone());
        let grant = self
            .authenticator
            .authenticate(Action::Subscribe, &workspace, &request_context.credentials(None))
            .await
            .map_err(|denial| denied::problem(&self.metrics, self.retry, &denial))?;
        let tickets = self.authenticator.tickets();
        let identity = self.authenticator.ticket_identity(&grant);
        let ticket = tickets.issue(&workspace, &identity, request_context.peer.client.address).await;
        let ticket = ticket.map_err(|error| match error {
            IssueError::TooMany(wait) => Problem::rate_limited(format!("{error}: try again later"), wait)
                .at_limit("tickets-per-user")
                .of_user(identity.user.as_ref()),
            IssueError::Random | IssueError::Store(_) => {
                tracing::debug!(%error, "a ticket was not issued");
                Problem::unavailable("tickets cannot be kept at the moment: try again later", self.retry)
            }
        })?;
        let body = json!({ "ticket": ticket.reveal(), "expiresInSeconds": tickets.lifetime().as_secs_f64() });
        let mut response = Response::new(format!("{body}\n").into());
        *response.status_mut() = StatusCode::CREATED;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}
