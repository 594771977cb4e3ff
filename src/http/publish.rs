//! `POST …/events`: publish durably, one event or a batch.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use warp::reply::Response;

use super::problem::Problem;
use super::routes::{App, workspace};
use super::service::Peer;
use crate::bus::{EVENTS_MAX, IdempotencyKey, Publication, PublishError, Published};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Publishes the request's body, which is a payload, or with `?batch=1` one payload a line, and answers what ids it got.
pub(super) async fn publish<B: Buf>(
    app: &App,
    id: &str,
    query: &str,
    headers: &HeaderMap,
    peer: &Peer,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Response, Problem> {
    if let Some(surplus) = peer.surplus {
        return Err(Problem::unavailable(surplus.to_string(), app.streams.retry));
    }
    app.origins.check_sender(headers, &peer.client)?;
    let workspace = workspace(id)?;
    let batch = wants_batch(query)?;
    let key = idempotency_key(headers)?;
    let bound = if batch {
        Bound { bytes: app.batch_bytes, what: "a batch", key: "limits.batch_bytes" }
    } else {
        Bound { bytes: app.event_bytes, what: "an event", key: "limits.event_bytes" }
    };
    let body =
        tokio::time::timeout(app.body_timeout, receive(body, headers, bound)).await.unwrap_or_else(|_| {
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body-timeout",
                "the request's body did not arrive in time",
            ))
        })?;
    let payloads = if batch { lines(&body) } else { vec![body] };
    check(&payloads, app.event_bytes)?;
    let Some(publication) = Publication::several(payloads) else { return Err(empty()) };
    let publication = publication.with_idempotency_key(key);
    match app.bus.publish(&workspace, publication).await {
        Ok(ids) => {
            app.metrics.published.inc_by(ids.len() as u64);
            Ok(published(&ids, batch))
        }
        Err(error) => {
            app.metrics.publish_failures.inc();
            Err(match error {
                PublishError::Unavailable(_) => Problem::unavailable(
                    "the bus did not confirm the event, which may or may not have been published: try again later, \
                     with the same Idempotency-Key if you gave one",
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

fn published(ids: &Published, batch: bool) -> Response {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let body: Value = match (batch, ids.first()) {
        (false, Some(id)) => json!({ "id": id }),
        _ => json!({ "ids": ids }),
    };
    let mut response = Response::new(format!("{body}\n").into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn wants_batch(query: &str) -> Result<bool, Problem> {
    let mut batch = false;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "batch" {
            batch = match &*value {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => return Err(Problem::bad_query("`batch` is 1 or 0")),
            };
        }
    }
    Ok(batch)
}

/// The `Idempotency-Key` header. Its value may stand in quotes, as a string does in structured fields (RFC 9651 section
/// 3.3.3), or without.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad-idempotency-key", detail);
    let text = value.to_str().map_err(|_| bad("the Idempotency-Key header is not ASCII".to_owned()))?.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    IdempotencyKey::parse(text).map(Some).map_err(|error| bad(error.to_string()))
}

/// The lines of a batch; empty ones do not count, so that the last line may or may not end.
fn lines(body: &Bytes) -> Vec<Bytes> {
    body.split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .map(|line| body.slice_ref(line))
        .take(EVENTS_MAX + 1)
        .collect()
}

fn check(payloads: &[Bytes], event_bytes: usize) -> Result<(), Problem> {
    if payloads.len() > EVENTS_MAX {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "batch-too-large",
            format!("a batch has at most {EVENTS_MAX} events: send several"),
        ));
    }
    for (number, payload) in payloads.iter().enumerate() {
        let which = if payloads.len() > 1 {
            format!("event {} of the batch", number + 1)
        } else {
            "the event".to_owned()
        };
        if payload.is_empty() {
            return Err(empty());
        }
        if payload.len() > event_bytes {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "event-too-large",
                format!("{which} has more than {event_bytes} bytes (limits.event_bytes)"),
            ));
        }
        if std::str::from_utf8(payload).is_err() {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "not-utf8",
                format!("the payload of {which} is not UTF-8"),
            ));
        }
    }
    Ok(())
}

fn empty() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "empty-event",
        "the request's body is the event's payload, and it is empty",
    )
}

/// How large a body may be, and how that is called.
#[derive(Clone, Copy)]
struct Bound {
    bytes: usize,
    what: &'static str,
    key: &'static str,
}

/// Collects a body of bounded length.
async fn receive<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    headers: &HeaderMap,
    bound: Bound,
) -> Result<Bytes, Problem> {
    let bytes_max = bound.bytes;
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "event-too-large",
            format!(
                "{} has at most {bytes_max} bytes ({}): publish a reference instead of the content",
                bound.what, bound.key
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
