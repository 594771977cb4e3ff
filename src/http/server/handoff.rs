//! Taking the socket of a stream out of hyper.
//!
//! A handler that grants a stream leaves it here, and answers with a body that never begins. From then on what hyper writes,
//! the head of the answer, is kept instead of sent. When hyper flushes, it is complete; then the connection is taken
//! apart, and socket, head and stream go to the delivery engine. So no byte is out before the engine has the socket.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use tidings_delivery::engine::PendingStream;

/// What ends a head (RFC 9112, section 2.1).
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A connection's stream on its way out of hyper; shared by its handler, its socket and its task.
#[derive(Debug, Default)]
pub(crate) struct HandoffRequest {
    /// Whether what is written is kept.
    captures: AtomicBool,
    /// Whether all of it was written.
    complete: AtomicBool,
    state: Mutex<HandoffState>,
}

#[derive(Debug, Default)]
struct HandoffState {
    pending_stream: Option<PendingStream>,
    head: Vec<u8>,
}

impl HandoffRequest {
    /// A stream is granted: its head comes next.
    pub(crate) fn grant(&self, pending_stream: PendingStream) {
        self.state.lock().pending_stream = Some(pending_stream);
        self.captures.store(true, Ordering::Release);
    }

    /// Whether what is written is to be kept.
    pub(crate) fn captures(&self) -> bool {
        self.captures.load(Ordering::Acquire)
    }

    /// Keeps what is written.
    pub(crate) fn capture(&self, bytes: &[u8]) {
        self.state.lock().head.extend_from_slice(bytes);
    }

    /// What was written so far is to go out.
    pub(crate) fn flush(&self) {
        if self.state.lock().head.ends_with(HEAD_END) {
            self.complete.store(true, Ordering::Release);
        }
    }

    /// Whether the head is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// The stream, if one was granted, and the head as far as it has come.
    pub(crate) fn take(&self) -> Option<(PendingStream, Vec<u8>)> {
        let mut state = self.state.lock();
        let pending_stream = state.pending_stream.take()?;
        Some((pending_stream, std::mem::take(&mut state.head)))
    }
}
