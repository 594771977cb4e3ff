//! A stream on its way into the engine.

use std::fmt;
use std::net::TcpStream;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::stream_stats::StreamStats;
use crate::{Recipient, Terms, Until};
use tidings_hub::Subscriber;
use tidings_limits::AddressPlace;
use tidings_metrics::Counted;

/// A stream that was granted, and waits for the socket it is to be written to. It counts as open;
/// dropped, it ends.
pub struct PendingStream {
    pub(super) stream_stats: StreamStats,
    pub(super) place: Option<AddressPlace>,
    pub(super) subscriber: Subscriber,
    pub(super) until: Until,
}

impl PendingStream {
    /// The stream of a subscriber that has just joined.
    #[must_use]
    pub fn new(subscriber: Subscriber, terms: Terms, recipient: &Recipient) -> Self {
        let stream_stats = StreamStats::new(terms.stream_guard, recipient);
        Self { stream_stats, place: terms.place, subscriber, until: terms.until }
    }

    /// The stream ends before it has begun.
    pub fn abort(&mut self, why: &'static str) {
        self.stream_stats.abort(why);
    }
}

impl fmt::Debug for PendingStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingStream").field("account", &self.stream_stats).finish_non_exhaustive()
    }
}

/// A stream with its socket.
pub struct Handoff {
    /// The stream.
    pub pending_stream: PendingStream,
    /// The socket, which does not block. Nothing of the answer was sent.
    pub socket: TcpStream,
    /// The head of the answer, which announces a chunked body.
    pub head: Vec<u8>,
    /// What is to be kept for as long as the socket is open.
    pub connection_guards: ConnectionGuards,
}

/// What a connection has for as long as it is open. All of it is only kept.
#[derive(Debug, Default)]
pub struct ConnectionGuards {
    /// Its room among all connections.
    pub permit: Option<OwnedSemaphorePermit>,
    /// Its place in the count.
    pub counted: Option<Counted>,
    /// What the end of the listener waits for.
    pub token: Option<TaskTrackerToken>,
    /// Its places among those of its client's address, one for the connection and one for the
    /// stream, in a box since most have none.
    pub places: Option<Box<[Option<AddressPlace>; 2]>>,
}

impl ConnectionGuards {
    /// Keeps the place of the stream too.
    pub(super) fn with(mut self, place: Option<AddressPlace>) -> Self {
        if place.is_some() {
            self.places.get_or_insert_default()[1] = place;
        }
        self
    }
}

impl fmt::Debug for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handoff").field("granted", &self.pending_stream).finish_non_exhaustive()
    }
}
