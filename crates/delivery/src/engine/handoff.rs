//! A stream on its way to the engine.

use std::fmt;
use std::net::TcpStream;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::stream_stats::StreamStats;
use crate::{Recipient, Terms, Until};
use tidings_hub::Subscriber;
use tidings_limits::AddressPlace;
use tidings_metrics::Counted;

/// A stream between its grant and its handoff. It counts as open; dropping it ends it.
pub struct PendingStream {
    pub(super) stream_stats: StreamStats,
    pub(super) place: Option<AddressPlace>,
    pub(super) subscriber: Subscriber,
    pub(super) until: Until,
}

impl PendingStream {
    /// Creates the stream of a subscriber that has just joined.
    #[must_use]
    pub fn new(subscriber: Subscriber, terms: Terms, recipient: &Recipient) -> Self {
        let stream_stats = StreamStats::new(terms.stream_guard, recipient, subscriber.metrics());
        Self { stream_stats, place: terms.place, subscriber, until: terms.until }
    }

    /// Ends the stream before it has begun.
    pub fn abort(&mut self, why: &'static str) {
        self.stream_stats.abort(why);
    }
}

impl fmt::Debug for PendingStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingStream").field("stream_stats", &self.stream_stats).finish_non_exhaustive()
    }
}

/// A stream with its socket.
pub struct Handoff {
    /// The stream.
    pub pending_stream: PendingStream,
    /// The socket, in non-blocking mode. No byte of the response was sent.
    pub socket: TcpStream,
    /// The head of the response, which announces a chunked body.
    pub head: Vec<u8>,
    /// The guards that are held as long as the socket is open.
    pub connection_guards: ConnectionGuards,
}

/// The guards of an open connection, held for their `Drop` only.
#[derive(Debug, Default)]
pub struct ConnectionGuards {
    /// Its place within the limit of connections.
    pub permit: Option<OwnedSemaphorePermit>,
    /// Its entry in the count of connections.
    pub counted: Option<Counted>,
    /// The token that the listener waits for at its end.
    pub token: Option<TaskTrackerToken>,
    /// The places of its client's address, one for the connection and one for the stream. They are
    /// boxed because most connections have none.
    pub places: Option<Box<[Option<AddressPlace>; 2]>>,
}

impl ConnectionGuards {
    /// Holds the place of the stream too.
    pub(super) fn with(mut self, place: Option<AddressPlace>) -> Self {
        if place.is_some() {
            self.places.get_or_insert_default()[1] = place;
        }
        self
    }
}

impl fmt::Debug for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handoff").field("pending_stream", &self.pending_stream).finish_non_exhaustive()
    }
}
