//! `POST …/tickets`: a ticket for a stream's URL.

use bytes::Buf;
use futures_util::Stream;
use http::StatusCode;
use http::header::{self, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use warp::reply::Response;

use super::routes::{PublicApi, workspace};
use crate::http::request::body;
use crate::http::request::request_context::RequestContext;
use crate::http::response::denied;
use crate::http::response::problem::Problem;
use tidings_auth::Action;
use tidings_auth::tickets::IssueError;
use tidings_event::Keys;

/// The most that a request for a ticket has to say, in bytes.
const BODY_BYTES_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketRequest {
    workspace: String,
}

/// Issues a ticket to a client that may read the workspace.
pub(super) async fn issue<B: Buf>(
    app: &PublicApi,
    request_context: &RequestContext,
    stream: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Response, Problem> {
    let mut stream = std::pin::pin!(stream);
    let outcome = grant(app, request_context, stream.as_mut()).await;
    body::unless_refused(outcome, stream, request_context).await
}

async fn grant<B: Buf>(
    app: &PublicApi,
    request_context: &RequestContext,
    stream: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Response, Problem> {
    if let Some(exceeded) = request_context.peer.exceeded {
        return Err(Problem::unavailable(exceeded.to_string(), app.streams.retry));
    }
    // A page elsewhere must not get a ticket with its visitor's cookie.
    app.origins.check_sender(&request_context.headers, &request_context.peer.client)?;
    let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, "bad-ticket-request", detail);
    let too_large = || bad("the body names the workspace and has at most 4096 bytes");
    let body =
        body::receive(app, request_context, Keys::default(), stream, BODY_BYTES_MAX, too_large).await?;
    let wish: TicketRequest = serde_json::from_slice(&body.bytes)
        .map_err(|_| bad(r#"the body is JSON that names the workspace: {"workspace":"acme"}"#))?;
    let workspace = workspace(&wish.workspace)?;
    let grant = app
        .authenticator
        .authenticate(Action::Subscribe, &workspace, &request_context.credentials(None))
        .await
        .map_err(|denial| denied::problem(app, &denial))?;
    let tickets = app.authenticator.tickets();
    let identity = app.authenticator.ticket_identity(&grant);
    let ticket = tickets.issue(&workspace, &identity, request_context.peer.client.address).await;
    let ticket = ticket.map_err(|error| match error {
        IssueError::TooMany(wait) => Problem::rate_limited(format!("{error}: try again later"), wait),
        IssueError::Random | IssueError::Store(_) => {
            tracing::debug!(%error, "a ticket was not issued");
            Problem::unavailable("tickets cannot be kept at the moment: try again later", app.streams.retry)
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
