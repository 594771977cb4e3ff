//! A stream's place among the open ones, and the word that ends it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::open::OpenStreams;
use crate::event::ConnectionId;
use crate::event::control::ReconnectReason;
use crate::workspace::WorkspaceId;

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

const GOES_ON: u8 = 0;
const DISCONNECTED: u8 = 1;
const UNAUTHORIZED: u8 = 2;

/// How a stream hears that it has to end: said once, heard by whoever writes it.
#[derive(Debug, Default)]
pub(super) struct EndBell {
    said: AtomicU8,
    waker: AtomicWaker,
}

impl EndBell {
    /// Says that the stream ends. The first word counts.
    pub(super) fn ring(&self, ending: Ending) {
        let word = match ending {
            Ending::Disconnected => DISCONNECTED,
            Ending::Unauthorized => UNAUTHORIZED,
        };
        let first = self.said.compare_exchange(GOES_ON, word, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if first {
            self.waker.wake();
        }
    }

    fn heard(&self) -> Option<Ending> {
        match self.said.load(Ordering::Acquire) {
            GOES_ON => None,
            DISCONNECTED => Some(Ending::Disconnected),
            _ => Some(Ending::Unauthorized),
        }
    }
}

/// A stream, for those who may end it and do not keep it open.
#[derive(Debug)]
pub struct StreamHandle(Weak<EndBell>);

impl StreamHandle {
    /// Whether the stream is still open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Ends the stream, if it is open.
    pub fn end(&self, ending: Ending) {
        if let Some(bell) = self.0.upgrade() {
            bell.ring(ending);
        }
    }
}

/// A stream's place among the open ones. The stream counts until this is dropped.
#[derive(Debug)]
pub struct Lease {
    open: Arc<OpenStreams>,
    slot: usize,
    bell: Arc<EndBell>,
}

impl Lease {
    pub(super) fn new(open: Arc<OpenStreams>, slot: usize, bell: Arc<EndBell>) -> Self {
        Self { open, slot, bell }
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
        StreamHandle(Arc::downgrade(&self.bell))
    }

    /// Whether the stream has to end; wakes the task of the last call when it does. Cancellation safe.
    pub fn poll_ending(&self, context: &Context<'_>) -> Poll<Ending> {
        if let Some(ending) = self.bell.heard() {
            return Poll::Ready(ending);
        }
        self.bell.waker.register(context.waker());
        // The word may have come between the look and the registration.
        self.bell.heard().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.open.leave(self.slot);
    }
}
