//! Accepting connections.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, ConnectionEntry, ConnectionSettings, ConnectionShared};
use super::connection_gate::{ConnectionGate, ConnectionGateSettings};
use super::drive::Ends;
use super::listen_socket::ListenSocket;
use super::open_connections::OpenConnections;
use super::service::Service;
use tidings_delivery::engine::Engine;
use tidings_metrics::Throttle;
use tidings_metrics::{Counted, Metrics};

/// The pause after an accept that failed for want of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener, and the settings of its connections.
#[derive(Debug)]
pub struct Listener {
    /// The listening sockets; at least one.
    pub sockets: Vec<ListenSocket>,
    /// The routes, and the checks around them.
    pub service: Service,
    /// The protocols of connections, and their timeouts.
    pub connection: ConnectionSettings,
    /// Bounds on connections.
    pub connection_gate: ConnectionGateSettings,
    /// The engine, which writes streams whose sockets can leave hyper; `None` if all stay there.
    pub engine: Option<Arc<Engine>>,
    /// Counts connections; `None` for a listener that is not counted.
    pub metrics: Option<Arc<Metrics>>,
}

impl Listener {
    /// Accepts until `stop_accepting`, then closes the sockets and waits for its connections. From
    /// then on they take no further request. `abandon` closes the connections that are still open.
    pub async fn run(self, stop_accepting: CancellationToken, abandon: CancellationToken) {
        let Self { sockets, service, connection, connection_gate, engine, metrics } = self;
        let open = connection_gate.oldest_gives_way.then(Arc::<OpenConnections>::default);
        let connection_gate = ConnectionGate::new(connection_gate, service.proxies(), metrics.clone());
        let tasks = TaskTracker::new();
        let ends = Ends { stop: stop_accepting.clone(), abandon };
        let shared = Arc::new(ConnectionShared {
            service,
            settings: connection,
            connection_gate,
            ends,
            engine,
            tasks: tasks.clone(),
        });
        let throttle = Throttle::default();
        let mut accepting = Accepting { sockets: &sockets, next: 0 };
        loop {
            // The place comes first: beyond all limits, clients wait in the listen queue and cost
            // no memory here.
            let mut connection_permit = None;
            if open.is_none() {
                connection_permit =
                    stop_accepting.run_until_cancelled(shared.connection_gate.acquire()).await;
                if connection_permit.is_none() {
                    break;
                }
            }
            let accepted = tokio::select! {
                accepted = accepting.accept() => accepted,
                () = stop_accepting.cancelled() => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    if let Some(silenced) = throttle.pass() {
                        tracing::error!(%error, silenced, "cannot accept connections: raise the limit of open files, or lower limits.connections");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if let Some(open) = open.as_ref().filter(|_| shared.connection_gate.is_full()) {
                open.close_oldest();
            }
            let connection_permit = match connection_permit {
                Some(connection_permit) => connection_permit,
                None => match stop_accepting.run_until_cancelled(shared.connection_gate.acquire()).await {
                    Some(connection_permit) => connection_permit,
                    None => break,
                },
            };
            let Some(connection_permit) = shared.connection_gate.arrive(connection_permit) else { continue };
            let entry = ConnectionEntry { connection_permit, counted: metrics.clone().map(Counted::new) };
            let serving = connection::serve(stream, address, entry, Arc::clone(&shared));
            match &open {
                None => tasks.spawn(serving),
                Some(open) => tasks.spawn(open.enter().serve(serving)),
            };
        }
        drop(sockets);
        tasks.close();
        tasks.wait().await;
    }
}

/// Accepts from several sockets, from each in its turn.
struct Accepting<'a> {
    sockets: &'a [ListenSocket],
    /// The socket that is asked first.
    next: usize,
}

impl Accepting<'_> {
    /// Accepts the next connection. Cancellation safe.
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (sockets, first) = (self.sockets, self.next);
        let (number, accepted) = poll_fn(|context| {
            for number in (first..sockets.len()).chain(0..first) {
                if let Poll::Ready(accepted) = sockets[number].poll_accept(context) {
                    return Poll::Ready((number, accepted));
                }
            }
            Poll::Pending
        })
        .await;
        self.next = (number + 1) % sockets.len();
        accepted
    }
}

/// Errors of accept(2) that concern the one connection that would have been accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
