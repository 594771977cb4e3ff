//! `GET …/events`: the event stream.

use futures_util::StreamExt as _;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use warp::Reply;
use warp::reply::Response;

use super::accept::{self, EventStream};
use super::admission::Surplus;
use super::problem::Problem;
use super::query::StreamQuery;
use super::routes::{App, workspace};
use super::service::Peer;
use crate::delivery::StreamBody;
use crate::event::control::ReconnectReason;
use crate::hub::{Resume, Start};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Opens a stream. Its head goes out at once, also while the workspace is not confirmed yet, unless the client is one
/// that wants such trouble told by a status.
pub(super) async fn open(
    app: &App,
    id: &str,
    query: &str,
    headers: &HeaderMap,
    peer: Peer,
) -> Result<Response, Problem> {
    let workspace = workspace(id)?;
    let query = StreamQuery::parse(query, app.named, app.newest_max)?;
    let accepted = accept::event_stream(headers);
    if accepted == EventStream::Excluded {
        return Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "not-acceptable",
            "this path answers with text/event-stream: name it in Accept, or leave Accept out",
        ));
    }
    // The header is newer than the query: a browser keeps the query of its first request when it reconnects.
    let start = headers
        .get(LAST_EVENT_ID)
        .filter(|value| !value.is_empty())
        .map(|value| Start::After(Resume::new(&String::from_utf8_lossy(value.as_bytes()))))
        .or(query.start)
        .unwrap_or(Start::Head);
    let by_status = query.errors_by_status || accepted != EventStream::Named;
    let place = match peer.enter() {
        Ok(place) => place,
        Err(surplus) => return refused(app, &peer, surplus, by_status),
    };
    let subscriber = match app.hub.join(&workspace, start, query.view) {
        Ok(subscriber) => subscriber,
        Err(full) if by_status => return Err(Problem::unavailable(full.to_string(), app.streams.retry)),
        Err(_) => {
            return Ok(as_stream(Response::new(app.streams.refusal(ReconnectReason::Overloaded).into())));
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
    peer.progress.begin_streaming();
    let body = StreamBody::new(subscriber, app.streams.clone(), peer.address, peer.cut);
    // The place is kept for as long as the stream is.
    let body = body.inspect(move |_| {
        let _place = &place;
    });
    Ok(as_stream(warp::reply::stream(body).into_response()))
}

/// Has a client that is beyond a bound come back later.
fn refused(app: &App, peer: &Peer, surplus: Surplus, by_status: bool) -> Result<Response, Problem> {
    if peer.surplus.is_none() {
        // Connections were counted when they came.
        app.metrics.count_refusal(surplus.reason());
    }
    if by_status {
        return Err(Problem::unavailable(surplus.to_string(), app.streams.retry));
    }
    Ok(as_stream(Response::new(app.streams.refusal(ReconnectReason::Overloaded).into())))
}

/// Puts the head of an event stream on an answer.
fn as_stream(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
