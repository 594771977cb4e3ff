//! The data of a stream for its log line.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::recipient::Recipient;
use tidings_event::UserId;
use tidings_event::control::ReconnectReason;
use tidings_limits::StreamGuard;
use tidings_metrics::Metrics;

/// The statistics of a stream, and its registration. Dropping it writes the log line and counts the
/// end.
pub(super) struct StreamStats {
    pub(super) stream_guard: StreamGuard,
    address: Address,
    /// The client behind that address, if a proxy reports it.
    client: Option<Box<IpAddr>>,
    /// The user, whose text the identity of the stream shares while it opens.
    user: Option<UserId>,
    began: Instant,
    /// Events that the client got.
    pub(super) events: u64,
    /// Bytes that the client got.
    pub(super) bytes: u64,
    ended: Option<ReconnectReason>,
    /// Whether the log line is written.
    logged: bool,
    metrics: Arc<Metrics>,
}

/// The stream ends because its client is gone.
pub(super) const CLIENT_LEFT: &str = "client left";

/// The texts with which a log line says why a stream ended without a `tidings.reconnect`.
pub const END_TEXTS: [&str; 7] = [
    CLIENT_LEFT,
    "takes no bytes",
    "takes no bytes, or is gone",
    "cancels its requests",
    "cut at the end of the drain",
    "cannot be waited for",
    "has lost its place",
];

/// An address in few bytes, because each connection has one.
#[derive(Clone, Copy)]
enum Address {
    V4([u8; 4], u16),
    V6([u8; 16], u16),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address.ip() {
            IpAddr::V4(ip) => Self::V4(ip.octets(), address.port()),
            IpAddr::V6(ip) => Self::V6(ip.octets(), address.port()),
        }
    }
}

impl From<Address> for SocketAddr {
    fn from(address: Address) -> Self {
        match address {
            Address::V4(ip, port) => (IpAddr::from(ip), port).into(),
            Address::V6(ip, port) => (IpAddr::from(ip), port).into(),
        }
    }
}

impl StreamStats {
    /// Creates the statistics of a stream that begins now.
    pub(super) fn new(stream_guard: StreamGuard, to: &Recipient, metrics: &Arc<Metrics>) -> Self {
        let address = Address::from(to.address);
        let client = (to.client != to.address.ip()).then(|| Box::new(to.client));
        Self {
            stream_guard,
            address,
            client,
            user: to.user.clone(),
            began: Instant::now(),
            events: 0,
            bytes: 0,
            ended: None,
            logged: false,
            metrics: Arc::clone(metrics),
        }
    }

    /// The time since the stream began.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The other end of the connection, and the client behind it.
    pub(super) fn addresses(&self) -> (SocketAddr, IpAddr) {
        let address = SocketAddr::from(self.address);
        (address, self.client.as_deref().copied().unwrap_or(address.ip()))
    }

    /// The user, if authentication found one.
    pub(super) fn user(&self) -> Option<&UserId> {
        self.user.as_ref()
    }

    /// Notes that the stream ends with a `tidings.reconnect`.
    pub(super) fn ended(&mut self, reason: ReconnectReason) {
        self.ended = Some(reason);
    }

    /// Ends the stream here. The log line and the metric have `why`, unless a `tidings.reconnect`
    /// was sent.
    pub(super) fn abort(&mut self, why: &'static str) {
        self.record_end(self.ended.map_or(why, ReconnectReason::as_str));
    }

    fn record_end(&mut self, why: &'static str) {
        let Some(workspace) = self.stream_guard.workspace().filter(|_| !self.logged) else { return };
        self.logged = true;
        self.metrics.count_ended_stream(why);
        let (address, forwarded_for) = self.addresses();
        // Outside of any span: the engine has none, and the lines of both writers are the same.
        tracing::info!(
            parent: None,
            %workspace,
            user = self.user.as_ref().map(UserId::as_str),
            connection = %self.stream_guard.id(),
            client.address = %address,
            %forwarded_for,
            seconds = self.began.elapsed().as_secs_f64(),
            events = self.events,
            bytes = self.bytes,
            why,
            "stream ended"
        );
    }
}

impl Drop for StreamStats {
    fn drop(&mut self) {
        self.abort(CLIENT_LEFT);
    }
}

impl fmt::Debug for StreamStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamStats").field("stream_guard", &self.stream_guard).finish_non_exhaustive()
    }
}
