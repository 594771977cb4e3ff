//! Receiving a request's body, within bounds.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::StatusCode;
use http::header::{self, HeaderMap};

use super::problem::Problem;

/// Collects a body of at most `bytes_max` bytes that arrives within `timeout`.
///
/// # Errors
///
/// `too_large` where it is, as early as that is known; 408 where it does not arrive in time; 400 where it breaks off.
pub(super) async fn receive<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    headers: &HeaderMap,
    bytes_max: usize,
    timeout: Duration,
    too_large: impl Fn() -> Problem,
) -> Result<Bytes, Problem> {
    // Said beforehand, so that a client that waits for `100 Continue` need not send it at all.
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > bytes_max) {
        return Err(too_large());
    }
    tokio::time::timeout(timeout, collect(body, bytes_max, too_large)).await.unwrap_or_else(|_| {
        Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            "the request's body did not arrive in time",
        ))
    })
}

async fn collect<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    bytes_max: usize,
    too_large: impl Fn() -> Problem,
) -> Result<Bytes, Problem> {
    let mut body = std::pin::pin!(body);
    let mut collected = BytesMut::new();
    while let Some(part) = body.next().await {
        let mut part = part.map_err(|_| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "broken-body",
                "the request's body ended early or is not well formed",
            )
        })?;
        if collected.len() + part.remaining() > bytes_max {
            return Err(too_large());
        }
        collected.extend_from_slice(&part.copy_to_bytes(part.remaining()));
    }
    Ok(collected.freeze())
}
