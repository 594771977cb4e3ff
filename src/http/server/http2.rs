//! HTTP/2 on a connection: many streams, with limits on each and on all of them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use warp::reply::Response;

use super::drive::{Ends, Watch};
use super::http2_stall::{Http2Stall, TrackedBody};
use super::service::{HttpResponse, PeerService};
use tidings_delivery::EndWatch;

/// Bytes of a response that wait for the peer's window, beside the part that is being sent.
const SEND_BUFFER_BYTES: usize = 32 * 1024;

/// Bytes of request bodies that a peer may send before they are read, for each stream and for all.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// The largest head of a request after decompression, in bytes. A larger one gets 431.
const HEAD_BYTES: u32 = 64 * 1024;

/// Streams that the peer cancelled before they were handled (CVE-2023-44487), and streams that
/// this side cancelled because of the peer. Beyond this number the connection ends.
const CANCELLED_STREAMS_MAX: usize = 64;

/// The lifetime of an overflow connection after its response.
const OVERFLOW_IDLE: Duration = Duration::from_millis(100);

/// The bounds of an HTTP/2 connection.
#[derive(Debug, Clone, Copy)]
pub struct Http2Settings {
    /// Streams at a time.
    pub streams: u32,
    /// The interval of pings.
    pub ping: Duration,
    /// The time in which the peer has to reply to a ping.
    pub ping_timeout: Duration,
    /// The time after which a connection without streams ends.
    pub idle: Duration,
    /// The longest time for which a peer may open no window for waiting bytes, of one stream or of
    /// all, although it replies to pings.
    pub stall: Duration,
}

/// Serves a connection that has begun, or begins, with the preface, until it ends.
pub(super) async fn serve<IO>(
    io: IO,
    service: PeerService,
    watch: Watch,
    settings: Http2Settings,
    header_timeout: Duration,
    tasks: TaskTracker,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let http2_stall = Arc::new(Http2Stall::new());
    let idle = if service.is_overflow() { OVERFLOW_IDLE } else { settings.idle };
    let mut builder = http2::Builder::new(Tasks(tasks));
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(settings.ping)
        .keep_alive_timeout(settings.ping_timeout)
        .max_concurrent_streams(settings.streams)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES)
        .max_pending_accept_reset_streams(CANCELLED_STREAMS_MAX)
        .max_local_error_reset_streams(CANCELLED_STREAMS_MAX);
    let bounds = Bounds { idle, stall: settings.stall, header_timeout };
    // If all streams are stuck, the connection ends before each of them does.
    let stall = bounds.stall + 2 * bounds.pause();
    let service = StallService { service, http2_stall: Arc::clone(&http2_stall), stall };
    // Pinned in place: a connection that is moved takes its size in the future twice.
    let connection = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let ends = Ends { stop: watch.ends.stop.child_token(), abandon: watch.ends.abandon.child_token() };
    let (close_reason, connection_state) =
        (Arc::clone(&watch.close_reason), Arc::clone(&watch.connection_state));
    let oversee = async {
        loop {
            tokio::time::sleep(bounds.pause()).await;
            let state = http2_stall.state();
            if state.floods {
                let _ = close_reason.set("cancels its requests");
                ends.abandon.cancel();
            } else if state.stalled >= bounds.stall {
                let _ = close_reason.set("takes no bytes");
                ends.abandon.cancel();
            } else if state.idle
                >= if connection_state.has_request() { bounds.idle } else { bounds.header_timeout }
            {
                close(&ends, header_timeout).await;
            }
        }
    };
    let watch = Watch { ends: ends.clone(), times_requests: false, ..watch };
    tokio::select! {
        () = watch.drive(connection) => {}
        () = oversee => {}
    }
}

/// Stops accepting requests, and ends the connection if the peer does not react in time.
async fn close(ends: &Ends, patience: Duration) {
    ends.stop.cancel();
    tokio::time::sleep(patience).await;
    ends.abandon.cancel();
}

struct Bounds {
    idle: Duration,
    stall: Duration,
    header_timeout: Duration,
}

impl Bounds {
    /// The pause between two checks of the limits: a quarter of the shortest one is early enough.
    fn pause(&self) -> Duration {
        let shortest = self.idle.min(self.stall).min(self.header_timeout);
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }
}

/// The service of one connection, which tracks how the peer takes its responses.
struct StallService {
    service: PeerService,
    http2_stall: Arc<Http2Stall>,
    stall: Duration,
}

impl hyper::service::Service<Request<Incoming>> for StallService {
    type Response = http::Response<TrackedBody<<Response as HttpResponse>::Body>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let exchange = self.http2_stall.begin();
        let (respond, stall) = (self.service.call(request), self.stall);
        Box::pin(async move { Ok(respond.await?.map(|body| exchange.respond(body, end_watch(), stall))) })
    }
}

/// Runs the streams of a connection as tasks that its listener waits for. They end with the
/// connection, or when their end is overdue.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        let watch = Arc::<EndWatch>::default();
        let stream = Severable { future: Box::pin(future), watch: Arc::clone(&watch) };
        // hyper calls this within the span of the connection.
        self.0.spawn(END_WATCH.scope(watch, stream).in_current_span());
    }
}

tokio::task_local! {
    /// Watches the end of the stream that the task writes.
    static END_WATCH: Arc<EndWatch>;
}

/// The watch of the stream that this task writes; `None` outside of the streams of HTTP/2.
pub(super) fn end_watch() -> Option<Arc<EndWatch>> {
    END_WATCH.try_with(Arc::clone).ok()
}

/// One stream of a connection, which is reset alone when its end is overdue.
struct Severable<F> {
    future: Pin<Box<F>>,
    watch: Arc<EndWatch>,
}

impl<F: Future> Future for Severable<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.future.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        // Dropped, the future resets its stream (RFC 9113 section 5.4.2).
        self.watch.poll_overdue(context)
    }
}
