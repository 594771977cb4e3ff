//! The limit on a reply while it is made.

use bytes::Bytes;

use crate::listener::output_buffer::too_large;
use crate::protocol::reply::Reply;

/// The rest of the largest reply that the client may get. All commands of a transaction share it.
#[derive(Debug)]
pub(crate) struct ReplyLimit {
    most: usize,
    left: usize,
}

impl ReplyLimit {
    /// A limit of so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, left: most }
    }

    /// The bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Leaves so many bytes to others.
    pub(super) fn set_aside(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// A reply of encoded bytes, if they are within the limit.
    pub(super) fn fill(&mut self, bytes: Bytes) -> Reply {
        if bytes.len() > self.left {
            return self.refuse();
        }
        self.left -= bytes.len();
        Reply::Encoded(bytes)
    }

    /// The reply, if it is within the limit.
    pub(super) fn take(&mut self, reply: Reply) -> Reply {
        let weight = reply.weight();
        if weight > self.left {
            return self.refuse();
        }
        self.left -= weight;
        reply
    }

    /// The error for a reply beyond the limit. From then on every reply is beyond it: another
    /// attempt would cost time.
    pub(super) fn refuse(&mut self) -> Reply {
        self.left = 0;
        too_large(self.most)
    }
}
