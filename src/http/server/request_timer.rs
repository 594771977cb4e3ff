//! The time that the peer of an HTTP/1.1 connection takes over its next request.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use http::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use warp::reply::Response;

use super::connection_state::ConnectionState;
use super::service::{HttpResponse, PeerService};

/// The node is responding to a request: the peer owes nothing.
const RESPONDING: u64 = 0;

/// The lowest bit: a part of the next head has arrived.
const HEAD: u64 = 1;

/// Measures a connection's wait for its next request. The first head has `header_timeout` from the
/// beginning of the connection. A later one may begin `idle_timeout` after the last response, and
/// then has `header_timeout` too.
#[derive(Debug)]
pub(crate) struct RequestTimer {
    began: Instant,
    /// [`RESPONDING`], or when the wait or the head began, in milliseconds since `began` plus one,
    /// shifted by one bit for [`HEAD`].
    state: AtomicU64,
    header_timeout: Duration,
    idle_timeout: Duration,
}

impl RequestTimer {
    /// The timer of a connection that begins now.
    pub(crate) fn new(header_timeout: Duration, idle_timeout: Duration) -> Self {
        Self { began: Instant::now(), state: AtomicU64::new(1 << 1 | HEAD), header_timeout, idle_timeout }
    }

    /// The time in which a further request has to begin.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Ends the part before the first head, such as a TLS handshake: the time for the head begins.
    pub(super) fn head_awaited(&self) {
        self.state.store(self.now() | HEAD, Ordering::Relaxed);
    }

    /// Bytes have arrived: if a request is awaited, its head has begun.
    pub(super) fn bytes_received(&self) {
        let state = self.state.load(Ordering::Relaxed);
        if state != RESPONDING && state & HEAD == 0 {
            self.state.store(self.now() | HEAD, Ordering::Relaxed);
        }
    }

    /// A whole head has arrived.
    fn request_received(&self) {
        self.state.store(RESPONDING, Ordering::Relaxed);
    }

    fn response_sent(&self) {
        self.state.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        // Two thousand years fit into the bits beside the lowest one.
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX >> 2);
        (ms + 1) << 1
    }

    /// Whether the node is responding to a request.
    pub(super) fn is_responding(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RESPONDING
    }

    /// The time that the peer has left, zero when it has passed. `None` during a response.
    fn left(&self) -> Option<Duration> {
        let state = self.state.load(Ordering::Relaxed);
        if state == RESPONDING {
            return None;
        }
        let limit = if state & HEAD == 0 { self.idle_timeout } else { self.header_timeout };
        let since = Duration::from_millis((state >> 1) - 1);
        Some(limit.saturating_sub(self.began.elapsed().saturating_sub(since)))
    }

    /// The time until the timer has to be checked again; `None` when the peer's time has passed.
    /// No limit begins and passes unnoticed: both are longer than the pause.
    pub(super) fn pause(&self) -> Option<Duration> {
        let pause = self.header_timeout.min(self.idle_timeout);
        match self.left() {
            Some(Duration::ZERO) => None,
            Some(left) => Some(left.min(pause)),
            None => Some(pause),
        }
    }
}

/// The service of one HTTP/1.1 connection, which times the waits between its responses.
#[derive(Debug)]
pub(super) struct TimedService {
    pub(crate) service: PeerService,
    pub(crate) connection_state: Arc<ConnectionState>,
}

impl hyper::service::Service<Request<Incoming>> for TimedService {
    type Response = http::Response<TimedBody<<Response as HttpResponse>::Body>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let guard = ResponseGuard::new(Arc::clone(&self.connection_state));
        let response = self.service.call(request);
        Box::pin(async move { Ok(response.await?.map(|body| guard.body(body))) })
    }
}

/// The body of a response. When it is dropped, the wait for the next request begins.
#[derive(Debug)]
pub(super) struct TimedBody<B> {
    body: B,
    _guard: ResponseGuard,
}

/// A response that is not complete yet.
#[derive(Debug)]
struct ResponseGuard(Arc<ConnectionState>);

impl ResponseGuard {
    /// A whole head has arrived, and its response begins.
    fn new(connection_state: Arc<ConnectionState>) -> Self {
        connection_state.timer.request_received();
        Self(connection_state)
    }

    /// The response's body.
    fn body<B>(self, body: B) -> TimedBody<B> {
        TimedBody { body, _guard: self }
    }
}

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        self.0.timer.response_sent();
    }
}

impl<B: Body + Unpin> Body for TimedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(120);

    fn is_about(left: Option<Duration>, limit: Duration) -> bool {
        left.is_some_and(|left| left <= limit && left > limit - Duration::from_secs(5))
    }

    #[test]
    fn first_head_and_each_begun_head_have_the_header_timeout() {
        let timer = RequestTimer::new(HEADER, IDLE);
        assert!(is_about(timer.left(), HEADER));
        timer.bytes_received();
        assert!(is_about(timer.left(), HEADER));
        timer.request_received();
        timer.bytes_received();
        assert_eq!(timer.left(), None, "the body of the request");
        timer.response_sent();
        assert!(is_about(timer.left(), IDLE));
        assert_eq!(timer.pause(), Some(HEADER), "a head may begin at any time");
        timer.bytes_received();
        assert!(is_about(timer.left(), HEADER));
        timer.request_received();
        assert_eq!(timer.left(), None);
    }

    #[test]
    fn time_that_has_passed_ends_the_wait() {
        let timer = RequestTimer::new(Duration::ZERO, IDLE);
        assert_eq!(timer.pause(), None);
        timer.request_received();
        assert!(timer.pause().is_some());
    }
}
