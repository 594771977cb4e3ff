//! `GET …/events`: the event stream.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use warp::Reply;
use warp::reply::Response;

use super::routes::{PublicApi, workspace};
use crate::http::request::accept::{self, EventStream};
use crate::http::request::last_event_id;
use crate::http::request::query::StreamQuery;
use crate::http::request::request_context::RequestContext;
use crate::http::response::denied;
use crate::http::response::problem::Problem;
use crate::http::server::http2;
use tidings_auth::Action;
use tidings_delivery::engine::PendingStream;
use tidings_delivery::{Recipient, StreamBody, Terms};
use tidings_event::UserId;
use tidings_event::control::ReconnectReason;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::{ReaderId, Start, SubscriptionFilter};
use tidings_limits::{Candidate, Holder};

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The stream that a request asks for.
struct StreamRequest {
    workspace: WorkspaceId,
    query: StreamQuery,
    /// Whether temporary trouble is reported by a status.
    by_status: bool,
}

impl StreamRequest {
    fn of(app: &PublicApi, id: &str, request_context: &RequestContext) -> Result<Self, Problem> {
        let workspace = workspace(id)?;
        let query = StreamQuery::parse(&request_context.query, app.named, app.newest_max)?;
        let accepted = accept::event_stream(&request_context.headers);
        if accepted == EventStream::Excluded {
            return Err(Problem::new(
                StatusCode::NOT_ACCEPTABLE,
                "not-acceptable",
                "this path returns text/event-stream: name it in Accept, or leave Accept out",
            ));
        }
        let by_status = query.errors_by_status || accepted != EventStream::Named;
        Ok(Self { workspace, query, by_status })
    }
}

/// Returns the head that `GET` gets, as far as the request decides it. Opens no stream, takes no
/// place and spends no ticket.
pub(crate) async fn head(
    app: &PublicApi,
    id: &str,
    request_context: RequestContext,
) -> Result<Response, Problem> {
    let StreamRequest { workspace, query, by_status } = StreamRequest::of(app, id, &request_context)?;
    if let Some(exceeded) = request_context.peer.exceeded {
        return full(app, exceeded.to_string(), by_status);
    }
    match app.authenticator.inspect(&workspace, &request_context.credentials(query.ticket.as_deref())).await {
        Ok(()) => Ok(as_stream(without_length())),
        Err(denial) => denied::stream_response(app, &denial, by_status),
    }
}

/// Opens a stream. Its head goes out at once, also before the workspace is confirmed. A client
/// that wants temporary trouble as a status gets the head later.
pub(crate) async fn open(
    app: &PublicApi,
    id: &str,
    request_context: RequestContext,
) -> Result<Response, Problem> {
    let StreamRequest { workspace, query, by_status } = StreamRequest::of(app, id, &request_context)?;
    // The header is newer than the query: a browser keeps the query of its first request when it
    // reconnects.
    let start = last_event_id::of_header(&request_context.headers)
        .map(Start::After)
        .or(query.start)
        .unwrap_or(Start::Head);
    let place = match request_context.peer.enter() {
        Ok(place) => place,
        Err(exceeded) => {
            if request_context.peer.exceeded.is_none() {
                // Connections are counted when they are accepted.
                app.metrics.count_refusal(exceeded.reason());
            }
            return full(app, exceeded.to_string(), by_status);
        }
    };
    let credentials = request_context.credentials(query.ticket.as_deref());
    let grant = match app.authenticator.authenticate(Action::Subscribe, &workspace, &credentials).await {
        Ok(grant) => grant,
        Err(denial) => return denied::stream_response(app, &denial, by_status),
    };
    let candidate = Candidate { workspace: workspace.clone(), identity: grant.identity.clone() };
    let stream_guard = match app.open.register(candidate) {
        Ok(stream_guard) => stream_guard,
        Err(bound) => {
            app.metrics.count_refusal(bound.as_str());
            app.authenticator.release_ticket(grant).await;
            return full(app, bound.to_string(), by_status);
        }
    };
    if let Err(denial) = app.authenticator.check_bans(&workspace, &grant.identity) {
        return denied::stream_response(app, &denial, by_status);
    }
    let filter = SubscriptionFilter { user: grant.identity.user.as_ref().map(UserId::key), ..query.filter };
    let holder = Holder::of(grant.identity.keys(), request_context.peer.client.address);
    let subscriber = match app.hub.join(&workspace, start, filter) {
        Ok(subscriber) => subscriber.reading_for(ReaderId::of(&holder)),
        Err(error) => {
            app.metrics.count_refusal("workspaces");
            app.authenticator.release_ticket(grant).await;
            return full(app, error.to_string(), by_status);
        }
    };

    if by_status {
        let confirmed = tokio::select! {
            settled = subscriber.settled() => settled,
            () = tokio::time::sleep(app.streams.confirm) => false,
            () = app.streams.drain.begun() => false,
        };
        if !confirmed {
            return Err(Problem::unavailable(
                "the workspace's subscription on the bus is not confirmed: try again later",
                app.streams.retry,
            ));
        }
    }
    let peer = request_context.peer;
    peer.progress.begin_streaming();
    let until = app.streams.draw_until(grant.identity.expires);
    app.authenticator.watch(stream_guard.handle(), workspace, grant);
    let terms = Terms { stream_guard, place, until };
    let recipient =
        Recipient { address: peer.address, client: peer.client.address, abort: peer.close_reason };
    if let Some(handoff) = peer.handoff {
        handoff.grant(PendingStream::new(subscriber, terms, &recipient));
        return Ok(as_stream(without_length()));
    }
    let watch = http2::end_watch().unwrap_or_else(|| Arc::clone(&peer.progress.end_watch));
    let body = StreamBody::new(subscriber, terms, app.streams.clone(), recipient).watched_by(watch);
    Ok(as_stream(warp::reply::stream(body).into_response()))
}

/// A response whose body never begins and has no known length: for a stream that the engine
/// writes, or for `HEAD`.
///
/// No header says that the connection ends. Some clients, Node's `fetch` among them, take an
/// announced end of the connection for the end of the response. They would not see that a stream
/// was aborted.
fn without_length() -> Response {
    let nothing = futures_util::stream::pending::<Result<Bytes, Infallible>>();
    warp::reply::stream(nothing).into_response()
}

/// The response to a new client at a limit: open streams continue, and the new client tries again
/// later.
fn full(app: &PublicApi, detail: String, by_status: bool) -> Result<Response, Problem> {
    if by_status {
        return Err(Problem::unavailable(detail, app.streams.retry));
    }
    Ok(refusal(app, ReconnectReason::Overloaded))
}

/// A stream that consists of `tidings.reconnect`.
pub(crate) fn refusal(app: &PublicApi, reason: ReconnectReason) -> Response {
    as_stream(Response::new(app.streams.last_frame(reason).into()))
}

/// Sets the headers of an event stream.
fn as_stream(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
