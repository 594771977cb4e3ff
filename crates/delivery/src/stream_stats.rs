//! What is kept of a stream for the line that the log has on its end.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::recipient::Recipient;
use tidings_event::control::ReconnectReason;
use tidings_limits::StreamGuard;

/// A stream's account, and its place among the open ones. The log line is written when this is
/// dropped.
pub(super) struct StreamStats {
    pub(super) stream_guard: StreamGuard,
    address: Address,
    /// The client behind that address, where a proxy tells it.
    client: Option<Box<IpAddr>>,
    began: Instant,
    /// Events that it was given.
    pub(super) events: u64,
    /// Bytes that it was given.
    pub(super) bytes: u64,
    ended: Option<ReconnectReason>,
    /// Whether the line is written.
    told: bool,
}

/// An address in little room: there is one for each connection.
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
    /// The account of a stream that begins now.
    pub(super) fn new(stream_guard: StreamGuard, to: &Recipient) -> Self {
        let address = Address::from(to.address);
        let client = (to.client != to.address.ip()).then(|| Box::new(to.client));
        Self {
            stream_guard,
            address,
            client,
            began: Instant::now(),
            events: 0,
            bytes: 0,
            ended: None,
            told: false,
        }
    }

    /// How long it has been open.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The stream ends with a word to the client.
    pub(super) fn ended(&mut self, reason: ReconnectReason) {
        self.ended = Some(reason);
    }

    /// The stream ends here, and without a word to the client unless it has had one.
    pub(super) fn abort(&mut self, why: &'static str) {
        self.tell(self.ended.map_or(why, ReconnectReason::as_str));
    }

    fn tell(&mut self, why: &'static str) {
        let Some(workspace) = self.stream_guard.workspace().filter(|_| !self.told) else { return };
        self.told = true;
        let address = SocketAddr::from(self.address);
        tracing::info!(
            %workspace,
            connection = %self.stream_guard.id(),
            %address,
            client = %self.client.as_deref().copied().unwrap_or(address.ip()),
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
        self.abort("client left");
    }
}

impl fmt::Debug for StreamStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamStats").field("lease", &self.stream_guard).finish_non_exhaustive()
    }
}
