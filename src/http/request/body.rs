//! Receiving a request's body, within bounds.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::StatusCode;
use http::header::{self, HeaderValue};
use prometheus_client::metrics::gauge::Gauge;

use super::request_context::RequestContext;
use crate::http::response::problem::Problem;
use tidings_event::Keys;
use tidings_limits::{BodyBudget, BodyReservation};
use tidings_metrics::Metrics;

/// The bytes and the time for which a rejected body is read on and dropped: the client sends them
/// before it can see the rejection.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Receives the bodies of requests.
#[derive(Debug)]
pub struct BodyReceiver {
    /// The memory for bodies.
    pub budget: Arc<BodyBudget>,
    /// Bound on the wait for memory, and on receiving a body.
    pub timeout: Duration,
    /// The time after which a client that got no memory tries again.
    pub retry: Duration,
    /// The counters of the node.
    pub metrics: Arc<Metrics>,
}

/// A received body. It takes its part of the memory for bodies until it is dropped.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    _memory: CountedMemory,
}

/// Reserved memory, which the metrics show until it is dropped.
#[derive(Debug)]
struct CountedMemory {
    bytes: i64,
    shown: Gauge,
    _reservation: BodyReservation,
}

impl CountedMemory {
    fn new(reservation: BodyReservation, metrics: &Metrics) -> Self {
        let bytes = i64::try_from(reservation.bytes()).unwrap_or(i64::MAX);
        metrics.body_bytes.inc_by(bytes);
        Self { bytes, shown: metrics.body_bytes.clone(), _reservation: reservation }
    }
}

impl Drop for CountedMemory {
    fn drop(&mut self) {
        self.shown.dec_by(self.bytes);
    }
}

impl BodyReceiver {
    /// Waits for memory, then collects a body of at most `bytes_max` bytes. Each of the two takes
    /// `server.body_timeout_seconds` at most.
    ///
    /// # Errors
    ///
    /// Returns 415 for a compressed body, and `too_large` as early as the size is known. Returns
    /// 429 without memory in time, 408 for a body that is not complete in time, and 400 for one
    /// that breaks off.
    pub(crate) async fn receive<B: Buf>(
        &self,
        request_context: &RequestContext,
        keys: Keys,
        body: impl Stream<Item = Result<B, warp::Error>>,
        bytes_max: usize,
        too_large: impl Fn() -> Problem,
    ) -> Result<Received, Problem> {
        let codings = request_context.headers.get_all(header::CONTENT_ENCODING);
        if codings.iter().any(|coding| !is_identity(coding)) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-content-encoding",
                "the request's body is compressed (Content-Encoding): send it as it is",
            )
            .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        // Said beforehand, so that a client that waits for `100 Continue` need not send it at all.
        let announced = request_context
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|announced| announced > bytes_max) {
            return Err(too_large());
        }
        let bytes_max = announced.unwrap_or(bytes_max);
        let waiting = self.budget.reserve(keys, request_context.peer.client.address, bytes_max);
        let Ok(reservation) = tokio::time::timeout(self.timeout, waiting).await else {
            self.metrics.count_refusal("body-bytes");
            return Err(Problem::rate_limited(
                "too many bodies are being received, yours among them (limits.body_bytes): send fewer at a time",
                self.retry,
            ));
        };
        let memory = CountedMemory::new(reservation, &self.metrics);
        let collecting = tokio::time::timeout(self.timeout, collect(body, bytes_max, too_large));
        let bytes = collecting.await.unwrap_or_else(|_| {
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body-timeout",
                "the request's body did not arrive in time",
            ))
        })?;
        Ok(Received { bytes, _memory: memory })
    }
}

/// Whether a `Content-Encoding` leaves the body as it is.
fn is_identity(coding: &HeaderValue) -> bool {
    let mut codings = coding.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

/// Returns an outcome. Over HTTP/2 a rejection first reads and drops the rest of the body. An
/// unread body resets its stream, and some clients then miss the response (RFC 9113 section 8.1).
/// Over HTTP/1.1 reading would invite a body that waits for `100 Continue`.
pub(crate) async fn unless_refused<T, B: Buf>(
    outcome: Result<T, Problem>,
    body: impl Stream<Item = Result<B, warp::Error>>,
    request_context: &RequestContext,
) -> Result<T, Problem> {
    if outcome.is_err() && request_context.peer.is_http2 {
        let discard = async {
            let mut body = std::pin::pin!(body);
            let mut left = DISCARDED_BYTES_MAX;
            while let Some(Ok(part)) = body.next().await {
                let Some(rest) = left.checked_sub(part.remaining()) else { break };
                left = rest;
            }
        };
        // The response is sent, whatever the outcome.
        let _ = tokio::time::timeout(DISCARD_TIMEOUT, discard).await;
    }
    outcome
}

async fn collect<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    bytes_max: usize,
    too_large: impl Fn() -> Problem,
) -> Result<Bytes, Problem> {
    let mut body = std::pin::pin!(body);
    // The budget counts the whole body; memory grows with the bytes that arrive.
    let mut collected = BytesMut::with_capacity(bytes_max);
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
