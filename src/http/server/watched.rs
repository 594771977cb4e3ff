//! A socket that knows how long its peer has not been taking bytes, and says so when the kernel
//! gives the peer up.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::connection_state::ConnectionState;
use super::handoff::HandoffRequest;
use tidings_delivery::CloseReason;

/// The pause between two checks of a socket with unread bytes.
const UNREAD_PAUSE: Duration = Duration::from_millis(500);

/// The time since which a socket has accepted no bytes.
#[derive(Debug)]
pub(super) struct Blockage {
    began: Instant,
    /// Milliseconds from `began` to the moment, plus one; 0 while bytes go out.
    since_ms: AtomicU64,
}

impl Blockage {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), since_ms: AtomicU64::new(0) }
    }

    fn note<T>(&self, outcome: &Poll<T>) {
        if outcome.is_ready() {
            self.since_ms.store(0, Ordering::Relaxed);
        } else if self.since_ms.load(Ordering::Relaxed) == 0 {
            let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
            self.since_ms.store(now + 1, Ordering::Relaxed);
        }
    }

    /// The time for which bytes have waited for the peer; zero while they go out.
    pub(super) fn lasting(&self) -> Duration {
        match self.since_ms.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.began.elapsed().saturating_sub(Duration::from_millis(since - 1)),
        }
    }
}

/// A TCP stream that notes when a write has to wait, and why it ended if the kernel ended it.
#[derive(Debug)]
pub(super) struct WatchedStream {
    stream: Arc<TcpStream>,
    blockage: Arc<Blockage>,
    connection_state: Arc<ConnectionState>,
    close_reason: CloseReason,
    /// Counts the writes to the socket, if they are counted.
    writes: Option<Counter>,
}

impl WatchedStream {
    /// The task that notices the peer's leaving shares the socket.
    pub(crate) fn new(
        stream: Arc<TcpStream>,
        blockage: Arc<Blockage>,
        connection_state: Arc<ConnectionState>,
        close_reason: CloseReason,
        writes: Option<Counter>,
    ) -> Self {
        Self { stream, blockage, connection_state, close_reason, writes }
    }

    /// The socket.
    pub(super) fn into_stream(self) -> Arc<TcpStream> {
        self.stream
    }

    /// The transfer to the engine, from the moment at which a stream is granted.
    fn capturing(&self) -> Option<&HandoffRequest> {
        self.connection_state.handoff().filter(|handoff| handoff.captures())
    }

    /// Records the error that the kernel reports after the keepalive or the user timeout. The peer
    /// is gone, or its window stayed shut although all output fits into the send buffer.
    fn note<T>(&self, outcome: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = outcome
            && error.kind() == io::ErrorKind::TimedOut
        {
            let _ = self.close_reason.set("takes no bytes, or is gone");
        }
    }

    /// Writes as soon as the socket takes bytes.
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        send: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let outcome = loop {
            match self.stream.poll_write_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
            if let Some(writes) = &self.writes {
                writes.inc();
            }
            match send(&self.stream) {
                // The kernel had less space than it reported; the readiness is reset.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => break Poll::Ready(outcome),
            }
        };
        self.blockage.note(&outcome);
        self.note(&outcome);
        outcome
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = loop {
            match self.stream.poll_read_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
            // Without filling it with zeros first: of an idle connection's buffer, hyper's 8 KiB,
            // most is never touched.
            match self.stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => {
                    if outcome.as_ref().is_ok_and(|&count| count > 0) {
                        self.connection_state.timer.bytes_received();
                    }
                    break Poll::Ready(outcome.map(drop));
                }
            }
        };
        self.note(&outcome);
        outcome
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(handoff) = self.capturing() {
            handoff.capture(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        self.poll_send(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(handoff) = self.capturing() {
            slices.iter().for_each(|slice| handoff.capture(slice));
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        self.poll_send(context, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Written bytes are with the kernel already, or kept.
        if let Some(handoff) = self.capturing() {
            handoff.flush();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(&*self.stream).shutdown(Shutdown::Write) {
            // The peer was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            outcome => Poll::Ready(outcome),
        }
    }
}

/// Waits until the peer has closed its side while a stream is open to it. hyper notices that by
/// itself, unless unread bytes, such as a second request, precede the end. Cancellation safe.
pub(super) async fn hung_up(stream: &TcpStream, is_streaming: impl Fn() -> bool) {
    loop {
        let closed = stream.ready(Interest::READABLE).await.is_ok_and(|ready| ready.is_read_closed());
        if closed && is_streaming() {
            return;
        }
        tokio::time::sleep(UNREAD_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection counts as blocked from the first write that waits to the next one that
    /// succeeds.
    #[tokio::test]
    async fn waiting_write_blocks_and_a_finished_one_clears_it() {
        let blockage = Blockage::new();
        blockage.note(&Poll::<()>::Pending);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(blockage.lasting() >= Duration::from_millis(20));
        blockage.note(&Poll::Ready(()));
        assert_eq!(blockage.lasting(), Duration::ZERO);
    }
}
