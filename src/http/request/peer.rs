//! The other end of a request: its client, and its connection as far as a stream uses it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::client_address::ClientAddress;
use super::limit_exceeded::LimitExceeded;
use tidings_delivery::engine::PendingStream;
use tidings_delivery::{CloseReason, EndWatch};
use tidings_limits::{AddressCounts, AddressFull, AddressPlace};

/// The connection of a request, as far as the handler of a stream uses it. The server implements
/// it, so that no handler knows the server.
pub(crate) trait StreamConnection: fmt::Debug + Send + Sync {
    /// Notes that the response is a stream, which only the client or the node ends.
    fn begin_streaming(&self);

    /// Leaves a stream for the engine, which writes it behind the head of the response. Only for a
    /// peer that [can hand off](Peer::can_hand_off); any other connection drops the stream.
    fn hand_off(&self, pending_stream: PendingStream);

    /// Returns the watch for the end of the stream that is the body of the response.
    fn end_watch(&self) -> Arc<EndWatch>;
}

/// The client of a request; an extension of the request. Behind a proxy, one connection carries
/// requests of many clients.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The other end of the connection.
    pub(crate) address: SocketAddr,
    /// The client, as far as trusted proxies name it.
    pub(crate) client: ClientAddress,
    /// The limit that the connection exceeds, if the request is to be rejected for it.
    pub(crate) exceeded: Option<LimitExceeded>,
    /// Counts the client's streams: one connection may carry many, a proxy's or one of HTTP/2.
    /// `None` for a trusted proxy that names no client.
    pub(crate) addresses: Option<Arc<AddressCounts>>,
    /// The reason for which the connection was aborted, if it was.
    pub(crate) close_reason: CloseReason,
    /// Whether it speaks HTTP/2.
    pub(crate) is_http2: bool,
    /// Whether the engine can write a stream of this request.
    pub(crate) can_hand_off: bool,
    /// The connection.
    pub(crate) connection: Arc<dyn StreamConnection>,
}

impl Peer {
    /// Takes a place for a stream of the client's address, if the address counts.
    pub(crate) fn enter(&self) -> Result<Option<AddressPlace>, LimitExceeded> {
        match (self.exceeded, &self.addresses) {
            (Some(exceeded), _) => Err(exceeded),
            (None, Some(addresses)) => {
                addresses.acquire(self.client.address).map_err(|AddressFull| LimitExceeded::Address)
            }
            (None, None) => Ok(None),
        }
    }
}
