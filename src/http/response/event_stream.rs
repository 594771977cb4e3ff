//! Responses of the type `text/event-stream`.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{self, HeaderName, HeaderValue};
use warp::Reply;
use warp::reply::Response;

use tidings_delivery::{StreamBody, StreamSettings};
use tidings_event::control::ReconnectReason;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A response whose body never begins and has no known length: for a stream that the engine
/// writes, or for `HEAD`.
///
/// No header says that the connection ends. Some clients, Node's `fetch` among them, take an
/// announced end of the connection for the end of the response. They would not see that a stream
/// was aborted.
pub(crate) fn head() -> Response {
    let nothing = futures_util::stream::pending::<Result<Bytes, Infallible>>();
    as_stream(warp::reply::stream(nothing).into_response())
}

/// A stream that the HTTP server writes.
pub(crate) fn of(body: StreamBody) -> Response {
    as_stream(warp::reply::stream(body).into_response())
}

/// A stream of other frames.
pub(crate) fn of_frames(
    frames: impl Stream<Item = Result<Bytes, Infallible>> + Send + Sync + 'static,
) -> Response {
    as_stream(warp::reply::stream(frames).into_response())
}

/// A stream that consists of `tidings.reconnect`.
pub(crate) fn reconnect(streams: &StreamSettings, reason: ReconnectReason) -> Response {
    as_stream(Response::new(streams.last_frame(reason).into()))
}

/// Sets the headers of an event stream.
fn as_stream(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
