//! Driving a connection of either version of HTTP to its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::connection_state::ConnectionState;
use super::handoff::HandoffRequest;
use super::watched::{self, Blockage};
use tidings_delivery::CloseReason;

/// The shortest pause between two looks at a peer that may be late.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The signals that end a connection from outside.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    /// No further request; an open stream ends by itself.
    pub(super) stop: CancellationToken,
    /// Now.
    pub(super) abandon: CancellationToken,
}

/// The parts that are watched while a connection is driven.
#[derive(Debug)]
pub(super) struct Watch {
    pub(crate) stream: Arc<TcpStream>,
    pub(super) blockage: Arc<Blockage>,
    pub(crate) connection_state: Arc<ConnectionState>,
    pub(crate) close_reason: CloseReason,
    pub(crate) ends: Ends,
    /// The longest time for which the peer may take no byte of the output that waits.
    pub(super) write_timeout: Duration,
    /// Whether requests come one after the other, as over HTTP/1.1, so that the wait for the next
    /// one is limited.
    pub(super) times_requests: bool,
}

/// A connection of hyper's, of either version.
pub(super) trait ServedConnection: Future<Output = hyper::Result<()>> {
    /// Takes no further request.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl Watch {
    /// Drives a connection until it ends, its peer leaves or takes no more bytes, or the node ends
    /// it.
    ///
    /// Borrows it: a future that gets its parts by value holds their size twice.
    pub(super) async fn drive(&self, mut connection: Pin<&mut impl ServedConnection>) {
        let mut late = std::pin::pin!(self.late());
        let mut overdue = std::pin::pin!(self.connection_state.end_watch.overdue());
        let mut hung_up =
            std::pin::pin!(watched::hung_up(&self.stream, || self.connection_state.streaming()));
        let mut stopping = false;
        loop {
            tokio::select! {
                // First, so that an arrived request counts before the connection stops.
                biased;
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        tracing::debug!(%error, "connection ended with an error");
                    }
                    return;
                }
                why = late.as_mut() => {
                    // Dropping the connection drops the stream's body, which writes the log line.
                    if let Some(why) = why {
                        let _ = self.close_reason.set(why);
                    }
                    return;
                }
                // The stream's body knows why it is dropped.
                () = overdue.as_mut() => return,
                () = hung_up.as_mut() => return,
                () = self.ends.abandon.cancelled() => {
                    let _ = self.close_reason.set("cut at the end of the drain");
                    return;
                }
                () = self.ends.stop.cancelled(), if !stopping => {
                    if !self.connection_state.has_request() {
                        // hyper takes a connection for busy before its first request, and would
                        // wait for one.
                        return;
                    }
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    /// Waits until the peer is late. It took no bytes for too long, which is the returned reason,
    /// or it sent no request. Cancellation safe.
    async fn late(&self) -> Option<&'static str> {
        loop {
            let blocked = self.blockage.lasting();
            if blocked >= self.write_timeout {
                return Some("takes no bytes");
            }
            let mut pause = self.write_timeout.saturating_sub(blocked);
            // An open stream is a long response: its connection is checked as rarely as possible.
            let streams = self.connection_state.streaming() && self.connection_state.timer.is_responding();
            if self.times_requests && !streams {
                pause = pause.min(self.connection_state.timer.pause()?);
            }
            tokio::time::sleep(pause.max(PAUSE_MIN)).await;
        }
    }
}

/// A connection over HTTP/1.1 that is driven until it ends, or until the head of a stream is
/// complete that is to be handed over.
#[derive(Debug)]
pub(super) struct HandoffFuture<'a, C> {
    pub(crate) connection: &'a mut C,
    pub(crate) handoff: &'a HandoffRequest,
}

impl<C: ServedConnection + Unpin> Future for HandoffFuture<'_, C> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = Pin::new(&mut *self.connection).poll(context);
        if self.handoff.is_complete() { Poll::Ready(Ok(())) } else { outcome }
    }
}

impl<C: ServedConnection + Unpin> ServedConnection for HandoffFuture<'_, C> {
    fn graceful_shutdown(mut self: Pin<&mut Self>) {
        Pin::new(&mut *self.connection).graceful_shutdown();
    }
}

impl<IO, S, B> ServedConnection for http1::Connection<IO, S>
where
    IO: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

impl<IO, S, B, E> ServedConnection for http2::Connection<IO, S, E>
where
    IO: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: Http2ServerConnExec<S::Future, B>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}
