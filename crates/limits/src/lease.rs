//! A stream's place among the open ones, and the word that ends it.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::open::{Slot, StreamRegistry};
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
    fn hear_ending(&self, stream: u32, ending: Ending);
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
    pub fn of(lease: &StreamGuard) -> Arc<Self> {
        let ear = Arc::new(Self::default());
        if let Some(ending) = lease.listen(Arc::clone(&ear) as Arc<dyn OnClose>, 0) {
            ear.hear_ending(0, ending);
        }
        ear
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
    fn hear_ending(&self, _stream: u32, ending: Ending) {
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
    open: Weak<StreamRegistry>,
    slot: Slot,
    id: ConnectionId,
}

impl StreamHandle {
    /// Whether the stream is still open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        // Another stream may have its slot by now.
        self.open.upgrade().is_some_and(|open| open.id(self.slot) == self.id)
    }

    /// Ends the stream, if it is open.
    pub fn end(&self, ending: Ending) {
        if let Some(open) = self.open.upgrade() {
            open.end_one(self.slot, self.id, ending);
        }
    }
}

/// A stream's place among the open ones. The stream counts until this is dropped.
#[derive(Debug)]
pub struct StreamGuard {
    open: Arc<StreamRegistry>,
    slot: Slot,
}

impl StreamGuard {
    pub(super) fn new(open: Arc<StreamRegistry>, slot: Slot) -> Self {
        Self { open, slot }
    }

    /// The stream's id.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.open.id(self.slot)
    }

    /// The stream's workspace.
    #[must_use]
    pub fn workspace(&self) -> Option<WorkspaceId> {
        self.open.workspace(self.slot)
    }

    /// A way to end the stream from elsewhere.
    #[must_use]
    pub fn handle(&self) -> StreamHandle {
        StreamHandle { open: Arc::downgrade(&self.open), slot: self.slot, id: self.id() }
    }

    /// Has whoever writes the stream told when it has to end. Answers what was said before that, which is not said again.
    #[must_use]
    pub fn listen(&self, ear: Arc<dyn OnClose>, stream: u32) -> Option<Ending> {
        self.open.listen(self.slot, ear, stream)
    }

    /// Whether the stream has to end, and why.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.open.ending(self.slot)
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.open.leave(self.slot);
    }
}
