//! Taking the socket of a stream out of hyper.
//!
//! A handler leaves a granted stream here and returns a body that never begins. From then on the
//! bytes that hyper writes, the head of the response, are kept. When hyper flushes, the head is
//! complete. Then the connection is taken apart, and socket, head and stream go to the engine. So
//! the engine has the socket before the first byte is out.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use tidings_delivery::engine::PendingStream;

/// The end of a head (RFC 9112, section 2.1).
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A connection's stream on its way out of hyper; shared by its handler, its socket and its task.
#[derive(Debug, Default)]
pub(crate) struct HandoffSlot {
    /// Whether written bytes are kept.
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

impl HandoffSlot {
    /// Grants a stream: its head follows.
    pub(crate) fn grant(&self, pending_stream: PendingStream) {
        self.state.lock().pending_stream = Some(pending_stream);
        self.captures.store(true, Ordering::Release);
    }

    /// Whether written bytes are to be kept.
    pub(crate) fn captures(&self) -> bool {
        self.captures.load(Ordering::Acquire)
    }

    /// Keeps written bytes.
    pub(crate) fn capture(&self, bytes: &[u8]) {
        self.state.lock().head.extend_from_slice(bytes);
    }

    /// Marks the kept bytes as complete if they end a head.
    pub(crate) fn flush(&self) {
        if self.state.lock().head.ends_with(HEAD_END) {
            self.complete.store(true, Ordering::Release);
        }
    }

    /// Whether the head is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Takes the stream, if one was granted, and the head so far.
    pub(crate) fn take(&self) -> Option<(PendingStream, Vec<u8>)> {
        let mut state = self.state.lock();
        let pending_stream = state.pending_stream.take()?;
        Some((pending_stream, std::mem::take(&mut state.head)))
    }
}
