//! A stream's place among the open ones, and the word that ends it.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::registry::{StreamRegistry, StreamSlot};
use tidings_event::ConnectionId;
use tidings_event::control::ReconnectReason;
use tidings_event::workspace::WorkspaceId;

/// Why a stream is ended from outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A backend has disconnected it.
    Disconnected,
    /// It was found out that it may not be open any more.
    Unauthorized,
}

impl Ending {
    /// What the client is told.
    #[must_use]
    pub fn reason(self) -> ReconnectReason {
        match self {
            Self::Disconnected => ReconnectReason::Disconnected,
            Self::Unauthorized => ReconnectReason::Unauthorized,
        }
    }
}

/// Whoever writes streams, and has to hear that one of them ends.
pub trait OnClose: fmt::Debug + Send + Sync {
    /// The stream that the writer has given this number to has to end. It may be gone already. Does not block.
    fn on_close(&self, stream: u32, ending: Ending);
}

const GOES_ON: u8 = 0;
const DISCONNECTED: u8 = 1;
const UNAUTHORIZED: u8 = 2;

/// The ear of a task that writes a single stream. Looking takes no lock.
#[derive(Debug, Default)]
pub struct CloseSignal {
    heard: AtomicU8,
    waker: AtomicWaker,
}

impl CloseSignal {
    /// The ear of the task that writes a stream.
    #[must_use]
    pub fn of(stream_guard: &StreamGuard) -> Arc<Self> {
        let close_signal = Arc::new(Self::default());
        if let Some(ending) = stream_guard.listen(Arc::clone(&close_signal) as Arc<dyn OnClose>, 0) {
            close_signal.on_close(0, ending);
        }
        close_signal
    }

    fn heard(&self) -> Option<Ending> {
        match self.heard.load(Ordering::Acquire) {
            GOES_ON => None,
            DISCONNECTED => Some(Ending::Disconnected),
            _ => Some(Ending::Unauthorized),
        }
    }

    /// Whether the stream has to end; wakes the task of the last call when it does. Cancellation safe.
    pub fn poll_ending(&self, context: &Context<'_>) -> Poll<Ending> {
        if let Some(ending) = self.heard() {
            return Poll::Ready(ending);
        }
        self.waker.register(context.waker());
        // The word may have come between the look and the registration.
        self.heard().map_or(Poll::Pending, Poll::Ready)
    }
}

impl OnClose for CloseSignal {
    fn on_close(&self, _stream: u32, ending: Ending) {
        let word = match ending {
            Ending::Disconnected => DISCONNECTED,
            Ending::Unauthorized => UNAUTHORIZED,
        };
        self.heard.store(word, Ordering::Release);
        self.waker.wake();
    }
}

/// A stream, for those who may end it and do not keep it open.
#[derive(Debug)]
pub struct StreamHandle {
    registry: Weak<StreamRegistry>,
    slot: StreamSlot,
    id: ConnectionId,
}

impl StreamHandle {
    /// Whether the stream is still open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        // Another stream may have its slot by now.
        self.registry.upgrade().is_some_and(|registry| registry.id(self.slot) == self.id)
    }

    /// Ends the stream, if it is open.
    pub fn end(&self, ending: Ending) {
        if let Some(registry) = self.registry.upgrade() {
            registry.end_one(self.slot, self.id, ending);
        }
    }
}

/// A stream's place among the open ones. The stream counts until this is dropped.
#[derive(Debug)]
pub struct StreamGuard {
    registry: Arc<StreamRegistry>,
    slot: StreamSlot,
}

impl StreamGuard {
    pub(super) fn new(registry: Arc<StreamRegistry>, slot: StreamSlot) -> Self {
        Self { registry, slot }
    }

    /// The stream's id.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.registry.id(self.slot)
    }

    /// The stream's workspace.
    #[must_use]
    pub fn workspace(&self) -> Option<WorkspaceId> {
        self.registry.workspace(self.slot)
    }

    /// A way to end the stream from elsewhere.
    #[must_use]
    pub fn handle(&self) -> StreamHandle {
        StreamHandle { registry: Arc::downgrade(&self.registry), slot: self.slot, id: self.id() }
    }

    /// Has whoever writes the stream told when it has to end. Answers what was said before that, which is not said again.
    #[must_use]
    pub fn listen(&self, close_signal: Arc<dyn OnClose>, stream: u32) -> Option<Ending> {
        self.registry.listen(self.slot, close_signal, stream)
    }

    /// Whether the stream has to end, and why.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.registry.ending(self.slot)
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.registry.leave(self.slot);
    }
}
