//! One connection, from the accepted socket to its end: its address, its protocol, and its
//! requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::connection_gate::{ConnectionGate, ConnectionPermit};
use super::connection_state::ConnectionState;
use super::drive::{Ends, HandoffFuture, Watch};
use super::http2::{self, Http2Settings};
use super::preface;
use super::proxy_protocol;
use super::request_timer::{RequestTimer, TimedService};
use super::service::{PeerService, Remote, Service};
use super::tls::Tls;
use super::watched::{Blockage, WatchedStream};
use tidings_delivery::CloseReason;
use tidings_delivery::engine::{ConnectionGuards, Engine, Handoff};
use tidings_metrics::Counted;

/// hyper's limit on a head. The node's own limit is smaller and returns a problem; a head beyond
/// this one gets hyper's bare 431.
const HEAD_BUFFER_BYTES: usize = 64 * 1024;

/// The most header fields in a request.
pub(super) const HEADERS_MAX: usize = 100;

/// The lifetime of an overflow connection: long enough for one request and its response.
const OVERFLOW_TIMEOUT: Duration = Duration::from_secs(3);

/// The protocols of a listener's connections, and the timeouts for everything that a peer can
/// delay.
#[derive(Debug, Clone)]
pub struct ConnectionSettings {
    /// For the head of a request, and for the bytes before it: PROXY header, TLS handshake.
    pub header_timeout: Duration,
    /// For the beginning of a further request, over HTTP/1.1.
    pub idle_timeout: Duration,
    /// For taking any byte of the output that waits.
    pub write_timeout: Duration,
    /// Whether the connection begins with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// TLS, if it is configured.
    pub tls: Option<Tls>,
    /// Bounds of HTTP/2.
    pub http2: Http2Settings,
}

/// The parts that all connections of a listener share.
#[derive(Debug)]
pub(super) struct ConnectionShared {
    pub(crate) service: Service,
    pub(super) settings: ConnectionSettings,
    pub(crate) connection_gate: ConnectionGate,
    pub(crate) ends: Ends,
    /// The engine, which writes streams whose sockets can leave hyper; `None` if all stay there.
    pub(crate) engine: Option<Arc<Engine>>,
    /// The connections, and the tasks of their streams.
    pub(super) tasks: TaskTracker,
}

/// Serves one connection until it ends. After a stop it takes no further request; an open stream
/// ends by itself.
///
/// The log lines of the connection are in its span, from the moment at which its address is known.
/// The span ends with the task, so that a stream of the engine has none.
pub(super) async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    entry: ConnectionEntry,
    shared: Arc<ConnectionShared>,
) {
    let settings = &shared.settings;
    let (address, is_named) = if settings.proxy_protocol {
        match Box::pin(before_deadline(&shared, named_by_proxy(&mut stream, peer, &shared))).await {
            Some(Some(named)) => (named.unwrap_or(peer), named.is_some()),
            Some(None) | None => return,
        }
    } else {
        (peer, true)
    };
    let Some(entry) = entry.identify(&shared.connection_gate, address.ip()) else { return };
    let is_overflow = entry.connection_permit.exceeded().is_some();
    let begun = Begun::new(stream, (address, is_named), entry, &shared);
    // Of the highest level, so that no `log.level` leaves the address out of a line.
    let span = tracing::error_span!("connection", client.address = %address);
    let serving = async {
        if let Some(protocol) = begun.protocol(&shared).await {
            begun.serve(protocol, &shared).await;
        }
    };
    let serving = std::pin::pin!(serving.instrument(span));
    if is_overflow {
        let _ = tokio::time::timeout(OVERFLOW_TIMEOUT, serving).await;
    } else {
        serving.await;
    }
}

/// The guards of a connection while it is open.
#[derive(Debug)]
pub(super) struct ConnectionEntry {
    /// Its place.
    pub(crate) connection_permit: ConnectionPermit,
    /// Its place in the count.
    pub(crate) counted: Option<Counted>,
}

impl ConnectionEntry {
    fn identify(self, connection_gate: &ConnectionGate, address: IpAddr) -> Option<Self> {
        let connection_permit = connection_gate.identify(self.connection_permit, address)?;
        Some(Self { connection_permit, ..self })
    }
}

/// Returns the outcome unless the deadline passes or the connection has to end first.
async fn before_deadline<T>(shared: &ConnectionShared, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        // First, so that arrived bytes count before the connection stops.
        biased;
        outcome = future => Some(outcome),
        () = tokio::time::sleep(shared.settings.header_timeout) => None,
        () = shared.ends.stop.cancelled() => None,
    }
}

/// The address in a PROXY header from a trusted sender; `Some(None)` if it names none, or its
/// sender is not trusted. `None` if the header cannot be read.
async fn named_by_proxy(
    stream: &mut TcpStream,
    peer: SocketAddr,
    shared: &ConnectionShared,
) -> Option<Option<SocketAddr>> {
    let proxies = shared.service.proxies();
    match proxy_protocol::read(stream).await {
        Ok(named) => Some(named.filter(|_| proxies.trust(peer.ip()))),
        Err(error) => {
            tracing::debug!(client.address = %peer, %error, "connection ended with an error");
            None
        }
    }
}

/// The protocol of a connection.
#[derive(Clone, Copy)]
enum HttpProtocol<'a> {
    /// TLS, within which either version of HTTP is agreed on.
    Tls(&'a Tls),
    /// HTTP/1.1 in the clear.
    Http1,
    /// HTTP/2 in the clear.
    Http2,
}

/// A connection whose address is known and whose protocol is not.
struct Begun {
    io: WatchedStream,
    service: PeerService,
    watch: Watch,
    entry: ConnectionEntry,
}

impl Begun {
    fn new(
        stream: TcpStream,
        (address, is_named): (SocketAddr, bool),
        entry: ConnectionEntry,
        shared: &ConnectionShared,
    ) -> Self {
        let close_reason = CloseReason::default();
        let settings = &shared.settings;
        let timer = RequestTimer::new(settings.header_timeout, settings.idle_timeout);
        // Outside of TLS the bytes on its socket cannot be made.
        let can_hand_off = shared.engine.is_some() && settings.tls.is_none();
        let connection_state = Arc::new(ConnectionState::new(timer, can_hand_off));
        let blockage = Arc::new(Blockage::new());
        let stream = Arc::new(stream);
        let writes = entry.counted.as_ref().map(Counted::writes);
        let io = WatchedStream::new(
            Arc::clone(&stream),
            Arc::clone(&blockage),
            Arc::clone(&connection_state),
            Arc::clone(&close_reason),
            writes,
        );
        let remote = Remote {
            address,
            is_named,
            secure: settings.tls.is_some(),
            exceeded: entry.connection_permit.exceeded(),
            addresses: shared.connection_gate.streams(),
            close_reason: Arc::clone(&close_reason),
            connection_state: Arc::clone(&connection_state),
        };
        let service = shared.service.for_remote(remote);
        let ends = shared.ends.clone();
        let write_timeout = settings.write_timeout;
        let watch = Watch {
            stream,
            blockage,
            connection_state,
            close_reason,
            ends,
            write_timeout,
            times_requests: true,
        };
        Self { io, service, watch, entry }
    }

    /// The protocol of the connection; `None` if it is not known in time.
    async fn protocol<'a>(&self, shared: &'a ConnectionShared) -> Option<HttpProtocol<'a>> {
        if let Some(tls) = &shared.settings.tls {
            return Some(HttpProtocol::Tls(tls));
        }
        match before_deadline(shared, preface::is_http2(&self.watch.stream)).await {
            Some(Ok(Some(true))) => Some(HttpProtocol::Http2),
            Some(Ok(Some(false))) => Some(HttpProtocol::Http1),
            Some(Ok(None) | Err(_)) | None => None,
        }
    }

    /// Serves the connection until it ends, or until its stream goes to the engine.
    ///
    /// The future is boxed: a connection takes the memory of its own protocol, not of the largest
    /// one.
    fn serve<'a>(self, protocol: HttpProtocol<'a>, shared: &'a ConnectionShared) -> BoxFuture<'a, ()> {
        match protocol {
            HttpProtocol::Tls(tls) => Box::pin(self.over_tls(tls, shared)),
            HttpProtocol::Http2 => Box::pin(async {
                let _entry = self.entry;
                http2(self.io, self.service, self.watch, shared).await;
            }),
            HttpProtocol::Http1 => match &shared.engine {
                Some(engine) => Box::pin(self.hand_over(engine, shared)),
                None => Box::pin(async {
                    let _entry = self.entry;
                    http1(self.io, self.service, self.watch).await;
                }),
            },
        }
    }

    /// Serves HTTP/1.1 until the connection ends, or until a stream is granted that the engine
    /// takes over.
    async fn hand_over(self, engine: &Engine, shared: &ConnectionShared) {
        let Self { io, service, watch, entry } = self;
        let connection_state = Arc::clone(&watch.connection_state);
        let Some(handoff) = connection_state.handoff() else { return };
        let service = TimedService { service, connection_state: Arc::clone(&watch.connection_state) };
        let mut connection = http1_builder().serve_connection(TokioIo::new(io), service);
        watch.drive(std::pin::pin!(HandoffFuture { connection: &mut connection, handoff })).await;
        let Some((mut pending_stream, head)) = handoff.take() else { return };
        let why = watch.close_reason.get().copied();
        let stream = connection.into_parts().io.into_inner().into_stream();
        drop(watch);
        let socket = match Arc::try_unwrap(stream) {
            Ok(stream) if why.is_none() && handoff.is_complete() => stream.into_std(),
            _ => return pending_stream.abort(why.unwrap_or("client left")),
        };
        match socket {
            Ok(socket) => {
                let (permit, place) = entry.connection_permit.into_parts();
                let connection_guards = ConnectionGuards {
                    permit: Some(permit),
                    counted: entry.counted,
                    token: Some(shared.tasks.token()),
                    places: place.map(|place| Box::new([Some(place), None])),
                };
                engine.open(Handoff { pending_stream, socket, head, connection_guards });
            }
            Err(error) => tracing::error!(%error, "cannot take a socket over: its stream ends"),
        }
    }

    async fn over_tls(self, tls: &Tls, shared: &ConnectionShared) {
        // Boxed: the memory of a handshake is freed after it, and HTTP/1.1 does not take that of
        // HTTP/2.
        match Box::pin(before_deadline(shared, tls.accept(self.io))).await {
            Some(Ok((io, true))) => Box::pin(http2(io, self.service, self.watch, shared)).await,
            Some(Ok((io, false))) => {
                self.watch.connection_state.timer.head_awaited();
                Box::pin(http1(io, self.service, self.watch)).await;
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "connection ended with an error");
            }
            None => {}
        }
    }
}

/// Serves HTTP/1.1 until the connection ends.
async fn http1<IO>(io: IO, service: PeerService, watch: Watch)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let service = TimedService { service, connection_state: Arc::clone(&watch.connection_state) };
    // Pinned in place: a connection that is moved takes its size in the future twice.
    let connection = std::pin::pin!(http1_builder().serve_connection(TokioIo::new(io), service));
    watch.drive(connection).await;
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // The connection's own timer separates a slow head from the wait before it; hyper's does
        // not.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BUFFER_BYTES)
        .max_headers(HEADERS_MAX);
    builder
}

/// Serves HTTP/2 until the connection ends.
async fn http2<IO>(io: IO, service: PeerService, watch: Watch, shared: &ConnectionShared)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let settings = &shared.settings;
    http2::serve(io, service, watch, settings.http2, settings.header_timeout, shared.tasks.clone()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future that a function of four arguments returns.
    fn size_of_future<F, A, B, C, D>(_function: fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// The same for one of three.
    fn size_of_future_of_three<F, A, B, C>(_function: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_connection_is_small() {
        // Every connection takes this much, whatever it speaks, until it ends or its stream goes
        // to the engine.
        let bytes = size_of_future(serve);
        assert!(bytes <= 1792, "{bytes} bytes");
        // And one whose stream stays with hyper takes this much beside it.
        let bytes = size_of_future_of_three(http1::<WatchedStream>);
        assert!(bytes <= 2304, "{bytes} bytes");
        let bytes = size_of_future(http2::<WatchedStream>);
        assert!(bytes <= 3840, "{bytes} bytes");
    }
}
