//! How large a reply may become while it is made.

use bytes::Bytes;

use crate::listener::output_buffer::too_large;
use crate::protocol::reply::Reply;

/// What is left of the largest reply that the client gets. All commands of a transaction share it.
#[derive(Debug)]
pub(crate) struct Room {
    most: usize,
    left: usize,
}

impl Room {
    /// Room for a reply of at most so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, left: most }
    }

    /// How many bytes there is room for.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Leaves so many bytes to others.
    pub(super) fn set_aside(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// A reply of encoded bytes, if there is room for it.
    pub(super) fn fill(&mut self, bytes: Bytes) -> Reply {
        if bytes.len() > self.left {
            return self.refuse();
        }
        self.left -= bytes.len();
        Reply::Encoded(bytes)
    }

    /// The reply, if there is room for it.
    pub(super) fn take(&mut self, reply: Reply) -> Reply {
        let weight = reply.weight();
        if weight > self.left {
            return self.refuse();
        }
        self.left -= weight;
        reply
    }

    /// The error for a reply that there is no room for. There is none for any other either: to look for one would cost time.
    pub(super) fn refuse(&mut self) -> Reply {
        self.left = 0;
        too_large(self.most)
    }
}
