//! The activity of one HTTP/2 connection, whose streams share a socket. The socket alone does not
//! show a peer that takes nothing, is idle, or only opens and cancels requests.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use tidings_delivery::EndWatch;

/// Requests in a row that a peer may cancel before their response.
const CANCELLED_BURST: f64 = 200.0;

/// The number of those that is forgiven each second.
const CANCELLED_PER_SECOND: f64 = 20.0;

/// The activity of a connection.
#[derive(Debug)]
pub(super) struct Http2Stall(Mutex<StallState>);

#[derive(Debug)]
struct StallState {
    /// Requests that have begun and not ended.
    open: usize,
    /// Responses with a ready part for which the peer opens no window.
    waiting: usize,
    /// The time at which a part was last taken, or began to wait while none did.
    moved: Instant,
    /// The end of the last request, or the beginning of the connection.
    idle_since: Instant,
    /// Requests that were cancelled before their response, less those forgiven.
    cancelled: f64,
    cancelled_at: Instant,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionActivity {
    /// The time for which no request has been open.
    pub(super) idle: Duration,
    /// The time for which the peer has taken nothing of the waiting bytes, over all streams.
    pub(super) stalled: Duration,
    /// Whether it cancels more requests than a client has reason to.
    pub(super) floods: bool,
}

/// One request, from its head to the end of its response.
#[derive(Debug)]
pub(super) struct Http2Exchange {
    http2_stall: Arc<Http2Stall>,
    responded: bool,
    waiting: bool,
}

/// A response body that reports how its connection takes it.
#[derive(Debug)]
pub(super) struct TrackedBody<B> {
    body: B,
    exchange: Http2Exchange,
    watch: Option<Arc<EndWatch>>,
    stall: Duration,
}

impl Http2Stall {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(StallState {
            open: 0,
            waiting: 0,
            moved: now,
            idle_since: now,
            cancelled: 0.0,
            cancelled_at: now,
        }))
    }

    /// Counts a new request.
    pub(crate) fn begin(self: &Arc<Self>) -> Http2Exchange {
        self.0.lock().open += 1;
        Http2Exchange { http2_stall: Arc::clone(self), responded: false, waiting: false }
    }

    pub(crate) fn state(&self) -> ConnectionActivity {
        self.state_at(Instant::now())
    }

    fn state_at(&self, now: Instant) -> ConnectionActivity {
        let state = self.0.lock();
        let since = |then: Instant| now.saturating_duration_since(then);
        ConnectionActivity {
            idle: if state.open == 0 { since(state.idle_since) } else { Duration::ZERO },
            stalled: if state.waiting > 0 { since(state.moved) } else { Duration::ZERO },
            floods: state.cancelled > CANCELLED_BURST,
        }
    }
}

impl Http2Exchange {
    /// Wraps the response's body. `watch` watches its stream, which may wait for the peer's window
    /// for `stall`.
    pub(crate) fn respond<B>(
        mut self,
        body: B,
        watch: Option<Arc<EndWatch>>,
        stall: Duration,
    ) -> TrackedBody<B> {
        self.responded = true;
        TrackedBody { body, exchange: self, watch, stall }
    }

    /// A part of the response is ready; hyper polls again only after it was taken.
    fn set_waiting(&mut self, waiting: bool) {
        if self.waiting == waiting {
            return;
        }
        self.waiting = waiting;
        let mut state = self.http2_stall.0.lock();
        if waiting {
            if state.waiting == 0 {
                state.moved = Instant::now();
            }
            state.waiting += 1;
        } else {
            state.waiting -= 1;
            state.moved = Instant::now();
        }
    }
}

impl Drop for Http2Exchange {
    fn drop(&mut self) {
        self.set_waiting(false);
        let now = Instant::now();
        let mut state = self.http2_stall.0.lock();
        state.open -= 1;
        state.idle_since = now;
        if !self.responded {
            let forgiven =
                now.saturating_duration_since(state.cancelled_at).as_secs_f64() * CANCELLED_PER_SECOND;
            state.cancelled = (state.cancelled - forgiven).max(0.0) + 1.0;
            state.cancelled_at = now;
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for TrackedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        // hyper keeps one part and polls for the next when the peer's window took it.
        self.exchange.set_waiting(false);
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let waiting = matches!(polled, Poll::Ready(Some(Ok(_))));
        self.exchange.set_waiting(waiting);
        if let Some(watch) = &self.watch {
            watch.set_waiting(waiting.then_some(self.stall));
        }
        polled
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
    use futures_util::FutureExt as _;
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    fn body() -> Full<Bytes> {
        Full::from("x")
    }

    #[test]
    fn idle_while_no_request_is_open() {
        let http2_stall = Arc::new(Http2Stall::new());
        let later = Instant::now() + Duration::from_secs(5);
        assert!(http2_stall.state_at(later).idle >= Duration::from_secs(4));
        let exchange = http2_stall.begin();
        assert_eq!(http2_stall.state_at(later).idle, Duration::ZERO);
        drop(exchange.respond(body(), None, Duration::ZERO));
        assert!(http2_stall.state_at(later).idle >= Duration::from_secs(4));
    }

    /// An HTTP/2 connection is stalled while its peer takes nothing of the ready parts.
    #[test]
    fn stalled_while_ready_parts_are_not_taken() {
        let http2_stall = Arc::new(Http2Stall::new());
        let later = Instant::now() + Duration::from_secs(5);
        let mut one = http2_stall.begin().respond(body(), None, Duration::ZERO);
        let mut other = http2_stall.begin().respond(body(), None, Duration::ZERO);
        assert_eq!(http2_stall.state_at(later).stalled, Duration::ZERO, "nothing is ready");
        assert!(one.frame().now_or_never().is_some());
        assert!(other.frame().now_or_never().is_some());
        assert!(http2_stall.state_at(later).stalled >= Duration::from_secs(4));
        assert!(one.frame().now_or_never().unwrap().is_none());
        drop(other);
        assert_eq!(http2_stall.state_at(later).stalled, Duration::ZERO, "all was taken");
    }

    /// A peer that cancels all its requests counts as a flood.
    #[test]
    fn peer_that_cancels_all_requests_floods() {
        let http2_stall = Arc::new(Http2Stall::new());
        for _ in 0..1000 {
            drop(http2_stall.begin().respond(body(), None, Duration::ZERO));
        }
        assert!(!http2_stall.state().floods);
        for _ in 0..1000 {
            drop(http2_stall.begin());
        }
        assert!(http2_stall.state().floods);
    }
}
