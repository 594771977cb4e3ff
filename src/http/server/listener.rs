//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, ConnectionEntry, ConnectionSettings, ConnectionShared};
use super::connection_gate::{ConnectionGate, ConnectionGateSettings};
use super::drive::Ends;
use super::open_connections::OpenConnections;
use super::service::Service;
use tidings_delivery::engine::Engine;
use tidings_metrics::Throttle;
use tidings_metrics::{Counted, Metrics};

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// The pause after an accept that failed for want of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whether an accepted socket has the options of the one that accepted it. Linux copies that one
/// when the connection is made, which saves seven calls for each connection.
const INHERITED: bool = cfg!(target_os = "linux");

/// Socket options of accepted connections.
#[derive(Debug, Clone, Copy)]
pub struct SocketSettings {
    /// Idle time after which the peer is probed.
    pub keepalive: Duration,
    /// The time for which sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
    /// The kernel's send buffer, in bytes.
    pub send_buffer: usize,
}

/// A bound listener, and the settings of its connections.
#[derive(Debug)]
pub struct Listener {
    /// The bound socket.
    pub listener: TcpListener,
    /// The routes, and the checks around them.
    pub service: Service,
    /// The protocols of connections, and their timeouts.
    pub connection: ConnectionSettings,
    /// Socket options.
    pub socket: SocketSettings,
    /// Bounds on connections.
    pub connection_gate: ConnectionGateSettings,
    /// The engine, which writes streams whose sockets can leave hyper; `None` if all stay there.
    pub engine: Option<Arc<Engine>>,
    /// Counts connections; `None` for a listener that is not counted.
    pub metrics: Option<Arc<Metrics>>,
}

/// Binds a listener, whose connections get these options.
///
/// # Errors
///
/// The address is in use, is not one of this machine, or needs a right that the process lacks.
pub fn bind(address: SocketAddr, options: &SocketSettings) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the former process to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    if INHERITED {
        // Before it listens, since connections are made from then on.
        options.apply(&SockRef::from(&socket))?;
    }
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Listener {
    /// Accepts until `stop_accepting`, then closes the socket and waits for its connections. From
    /// then on they take no further request. `abandon` closes the connections that are still open.
    pub async fn run(self, stop_accepting: CancellationToken, abandon: CancellationToken) {
        let Self { listener, service, connection, socket, connection_gate, engine, metrics } = self;
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
                accepted = listener.accept() => accepted,
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
            if !INHERITED && socket.apply(&SockRef::from(&stream)).is_err() {
                // The peer is gone already.
                continue;
            }
            let entry = ConnectionEntry { connection_permit, counted: metrics.clone().map(Counted::new) };
            let serving = connection::serve(stream, address, entry, Arc::clone(&shared));
            match &open {
                None => tasks.spawn(serving),
                Some(open) => tasks.spawn(open.enter().serve(serving)),
            };
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }
}

impl SocketSettings {
    fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        let keepalive =
            TcpKeepalive::new().with_time(self.keepalive).with_interval(self.keepalive / 3).with_retries(3);
        socket.set_tcp_keepalive(&keepalive)?;
        // With it, a peer that vanished is found also while bytes are under way to it; keepalive
        // alone waits for silence.
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        socket.set_send_buffer_size(self.send_buffer)
    }
}

/// Errors of accept(2) that concern the one connection that would have been accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn accepted_sockets_have_the_options_of_the_one_that_accepted_them() {
        let settings = SocketSettings {
            keepalive: Duration::from_secs(45),
            user_timeout: Duration::from_secs(31),
            send_buffer: 50_000,
        };
        let listener = bind("127.0.0.1:0".parse().unwrap(), &settings).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _other = TcpStream::connect(plain.local_addr().unwrap()).await.unwrap();
        let (by_hand, _) = plain.accept().await.unwrap();
        settings.apply(&SockRef::from(&by_hand)).unwrap();
        let options = |stream: &TcpStream| {
            let socket = SockRef::from(stream);
            (
                socket.tcp_nodelay().unwrap(),
                socket.keepalive().unwrap(),
                socket.tcp_keepalive_time().unwrap(),
                socket.tcp_keepalive_interval().unwrap(),
                socket.tcp_keepalive_retries().unwrap(),
                #[cfg(target_os = "linux")]
                socket.tcp_user_timeout().unwrap(),
                socket.send_buffer_size().unwrap(),
            )
        };
        if INHERITED {
            assert_eq!(options(&accepted), options(&by_hand));
            assert_eq!(options(&accepted).2, settings.keepalive);
        }
    }
}
