//! The guard of a registered stream, and the signal that ends the stream.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::registry::{StreamRegistry, StreamSlot};
use tidings_event::ConnectionId;
use tidings_event::control::ReconnectReason;
use tidings_event::workspace::WorkspaceId;

/// The reason for which the node ends a stream from outside its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A backend has disconnected the client.
    Disconnected,
    /// A repeated authentication rejected the client.
    Unauthorized,
}

impl Ending {
    /// Returns the reason that the client receives.
    #[must_use]
    pub fn reason(self) -> ReconnectReason {
        match self {
            Self::Disconnected => ReconnectReason::Disconnected,
            Self::Unauthorized => ReconnectReason::Unauthorized,
        }
    }
}

/// Receives the endings of streams; a writer of streams implements it.
pub trait OnClose: fmt::Debug + Send + Sync {
    /// Reports that a stream has to end. `stream` is the number that the writer gave to
    /// [`StreamGuard::notify_on_close`]. The stream may be gone already. Must not block.
    fn on_close(&self, stream: u32, ending: Ending);
}

const OPEN: u8 = 0;
const DISCONNECTED: u8 = 1;
const UNAUTHORIZED: u8 = 2;

/// Notifies the task of a single stream. Reading it takes no lock.
#[derive(Debug, Default)]
pub struct CloseSignal {
    ending: AtomicU8,
    waker: AtomicWaker,
}

impl CloseSignal {
    /// Creates the signal of a stream and registers it with the stream's guard.
    #[must_use]
    pub fn of(stream_guard: &StreamGuard) -> Arc<Self> {
        let close_signal = Arc::new(Self::default());
        if let Some(ending) = stream_guard.notify_on_close(Arc::clone(&close_signal) as Arc<dyn OnClose>, 0) {
            close_signal.on_close(0, ending);
        }
        close_signal
    }

    fn ending(&self) -> Option<Ending> {
        match self.ending.load(Ordering::Acquire) {
            OPEN => None,
            DISCONNECTED => Some(Ending::Disconnected),
            _ => Some(Ending::Unauthorized),
        }
    }

    /// Returns `Ready` once the stream has to end; wakes the task of the last call. Cancellation
    /// safe.
    pub fn poll_ending(&self, context: &Context<'_>) -> Poll<Ending> {
        if let Some(ending) = self.ending() {
            return Poll::Ready(ending);
        }
        self.waker.register(context.waker());
        // The ending may have come between the first load and the registration.
        self.ending().map_or(Poll::Pending, Poll::Ready)
    }
}

impl OnClose for CloseSignal {
    fn on_close(&self, _stream: u32, ending: Ending) {
        let value = match ending {
            Ending::Disconnected => DISCONNECTED,
            Ending::Unauthorized => UNAUTHORIZED,
        };
        self.ending.store(value, Ordering::Release);
        self.waker.wake();
    }
}

/// Ends a stream from elsewhere, without keeping it registered.
#[derive(Debug)]
pub struct StreamHandle {
    registry: Weak<StreamRegistry>,
    slot: StreamSlot,
    id: ConnectionId,
}

impl StreamHandle {
    /// Returns whether the stream is still open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        // Another stream may have the slot by now.
        self.registry.upgrade().is_some_and(|registry| registry.id(self.slot) == self.id)
    }

    /// Ends the stream, if it is open.
    pub fn end(&self, ending: Ending) {
        if let Some(registry) = self.registry.upgrade() {
            registry.end_one(self.slot, self.id, ending);
        }
    }
}

/// Registers a stream until it is dropped.
#[derive(Debug)]
pub struct StreamGuard {
    registry: Arc<StreamRegistry>,
    slot: StreamSlot,
}

impl StreamGuard {
    pub(super) fn new(registry: Arc<StreamRegistry>, slot: StreamSlot) -> Self {
        Self { registry, slot }
    }

    /// Returns the stream's id.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.registry.id(self.slot)
    }

    /// Returns the stream's workspace.
    #[must_use]
    pub fn workspace(&self) -> Option<WorkspaceId> {
        self.registry.workspace(self.slot)
    }

    /// Returns a handle that can end the stream.
    #[must_use]
    pub fn handle(&self) -> StreamHandle {
        StreamHandle { registry: Arc::downgrade(&self.registry), slot: self.slot, id: self.id() }
    }

    /// Sets the receiver of the stream's ending; `stream` is passed to it. Returns an earlier
    /// ending, which the receiver does not get again.
    #[must_use]
    pub fn notify_on_close(&self, close_signal: Arc<dyn OnClose>, stream: u32) -> Option<Ending> {
        self.registry.notify_on_close(self.slot, close_signal, stream)
    }

    /// Returns the ending, if the stream has to end.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.registry.ending(self.slot)
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.registry.remove(self.slot);
    }
}
