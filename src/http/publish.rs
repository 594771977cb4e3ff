//! `POST …/events`: publish one event, durably.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use serde_json::json;
use warp::reply::Response;

use super::problem::Problem;
use super::routes::{App, workspace};
use crate::bus::PublishError;

/// Publishes the request's body and answers the event's id.
pub(super) async fn publish<B: Buf>(
    app: &App,
    id: &str,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Response, Problem> {
    app.origins.check_sender(headers)?;
    let workspace = workspace(id)?;
    let payload = tokio::time::timeout(app.body_timeout, receive(body, headers, app.event_bytes))
        .await
        .unwrap_or_else(|_| {
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body-timeout",
                "the request's body did not arrive in time",
            ))
        })?;
    if payload.is_empty() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "empty-event",
            "the request's body is the event's payload, and it is empty",
        ));
    }
    if std::str::from_utf8(&payload).is_err() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "not-utf8", "the event's payload is not UTF-8"));
    }
    match app.bus.publish(&workspace, payload).await {
        Ok(id) => {
            app.metrics.published.inc();
            let mut response = Response::new(format!("{}\n", json!({ "id": id.to_string() })).into());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
        Err(error) => {
            app.metrics.publish_failures.inc();
            Err(match error {
                PublishError::Unavailable(_) => Problem::unavailable(
                    "the bus did not confirm the event, which may or may not have been published: try again later",
                    app.streams.retry,
                ),
                PublishError::Refused(reason) => Problem::new(
                    StatusCode::BAD_GATEWAY,
                    "refused-by-bus",
                    format!("the bus refused the event: {reason}"),
                ),
            })
        }
    }
}

/// Collects a body of bounded length.
async fn receive<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    headers: &HeaderMap,
    bytes_max: usize,
) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "event-too-large",
            format!(
                "an event has at most {bytes_max} bytes (limits.event_bytes): publish a reference instead of the content"
            ),
        )
    };
    // Said beforehand, so that a client that waits for `100 Continue` need not send it at all.
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > bytes_max) {
        return Err(too_large());
    }
    let mut body = std::pin::pin!(body);
    let mut payload = BytesMut::new();
    while let Some(part) = body.next().await {
        let mut part = part.map_err(|_| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "broken-body",
                "the request's body ended early or is not well formed",
            )
        })?;
        if payload.len() + part.remaining() > bytes_max {
            return Err(too_large());
        }
        payload.extend_from_slice(&part.copy_to_bytes(part.remaining()));
    }
    Ok(payload.freeze())
}
