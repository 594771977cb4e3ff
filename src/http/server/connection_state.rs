//! The state of a connection, which its tasks, its socket and its handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::handoff::HandoffRequest;
use super::http2;
use super::request_timer::RequestTimer;
use crate::http::request::peer::StreamConnection;
use tidings_delivery::EndWatch;
use tidings_delivery::engine::PendingStream;

/// The state of a connection.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    has_request: AtomicBool,
    streaming: AtomicBool,
    /// Times the peer's requests over HTTP/1.1.
    pub(crate) timer: RequestTimer,
    /// Watches the stream that is the response, over HTTP/1.1.
    pub(crate) end_watch: Arc<EndWatch>,
    /// Takes a stream for the engine, if the engine can write it. Boxed, because it is larger than
    /// all else here, and most connections that stay have none.
    handoff: Option<Box<HandoffRequest>>,
}

impl ConnectionState {
    /// The state of a connection that has just begun. `can_hand_off`: the engine can write its
    /// stream.
    pub(crate) fn new(timer: RequestTimer, can_hand_off: bool) -> Self {
        Self {
            has_request: AtomicBool::new(false),
            streaming: AtomicBool::new(false),
            timer,
            end_watch: Arc::default(),
            handoff: can_hand_off.then(Box::default),
        }
    }

    /// Whether a request has arrived.
    pub(crate) fn has_request(&self) -> bool {
        self.has_request.load(Ordering::Relaxed)
    }

    /// Notes that a request has arrived.
    pub(super) fn request_arrived(&self) {
        self.has_request.store(true, Ordering::Relaxed);
    }

    /// Whether a stream was opened, which only the client or the node ends.
    pub(crate) fn streaming(&self) -> bool {
        self.streaming.load(Ordering::Relaxed)
    }

    /// The transfer of its stream to the engine; `None` if the engine cannot write it.
    pub(super) fn handoff(&self) -> Option<&HandoffRequest> {
        self.handoff.as_deref()
    }
}

impl StreamConnection for ConnectionState {
    fn begin_streaming(&self) {
        self.streaming.store(true, Ordering::Relaxed);
    }

    fn hand_off(&self, pending_stream: PendingStream) {
        if let Some(handoff) = self.handoff() {
            handoff.grant(pending_stream);
        }
    }

    fn end_watch(&self) -> Arc<EndWatch> {
        // Over HTTP/2 each stream is a task of its own.
        http2::end_watch().unwrap_or_else(|| Arc::clone(&self.end_watch))
    }
}
