//! One HTTP connection, from the accepted socket to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::service::{Peer, Progress, Service};
use super::watched::{self, Blockage, WatchedStream};
use crate::delivery::EndNote;

/// hyper's bound on a head. Ours is smaller and answered with a problem; a head beyond this one gets hyper's bare 431.
const HEAD_BUFFER_BYTES: usize = 64 * 1024;

/// The most header fields in a request.
const HEADERS_MAX: usize = 100;

/// How long a connection may take at most for things that a peer can delay.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionSettings {
    /// For the head of a request.
    pub header_timeout: Duration,
    /// For taking any byte of what waits to be sent.
    pub write_timeout: Duration,
}

/// What ends a connection from outside.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    /// No further request; an open stream ends by itself.
    pub(super) stop: CancellationToken,
    /// Now.
    pub(super) abandon: CancellationToken,
}

/// Serves one connection until it ends. After a stop it takes no further request; an open stream ends by itself.
pub(super) async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    service: Service,
    settings: ConnectionSettings,
    ends: Ends,
) {
    let cut = EndNote::default();
    let progress = Arc::new(Progress::default());
    let blockage = Arc::new(Blockage::new());
    let stream = Arc::new(stream);
    let io = TokioIo::new(WatchedStream::new(Arc::clone(&stream), Arc::clone(&blockage), Arc::clone(&cut)));
    let peer = Peer { address, cut: Arc::clone(&cut), progress: Arc::clone(&progress) };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_buf_size(HEAD_BUFFER_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(io, service.for_peer(peer));
    let mut connection = std::pin::pin!(connection);
    let mut stalled = std::pin::pin!(blockage.exceeds(settings.write_timeout));
    let mut hung_up = std::pin::pin!(watched::hung_up(&stream, || progress.streaming()));
    let mut stopping = false;
    loop {
        tokio::select! {
            // First of all, so that a request that has arrived counts as one before the connection is told to stop.
            biased;
            outcome = connection.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(%address, %error, "connection ended with an error");
                }
                return;
            }
            () = stalled.as_mut() => {
                // Dropping the connection drops the stream's body, which writes the log line.
                let _ = cut.set("takes no bytes");
                return;
            }
            () = hung_up.as_mut() => return,
            () = ends.abandon.cancelled() => {
                let _ = cut.set("cut at the end of the drain");
                return;
            }
            () = ends.stop.cancelled(), if !stopping => {
                if !progress.asked() {
                    // hyper takes a connection for busy before its first request, and would wait for one.
                    return;
                }
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
