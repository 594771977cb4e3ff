//! Bytes for one connection alone.

use bytes::Bytes;

/// An empty buffer with more memory than this is freed.
const KEPT_BYTES: usize = 64 * 1024;

/// The memory that an idle connection may keep, so that small events need no allocation.
const IDLE_BYTES: usize = 1024;

/// The bytes that one connection gets before any shared ones.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// The rest of a shared frame, which is sent first.
    first: Bytes,
    own: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// Creates a buffer with bytes of the connection's own.
    pub(super) fn new(own: Vec<u8>) -> Self {
        Self { first: Bytes::new(), own, sent: 0 }
    }

    /// The bytes to send next.
    pub(super) fn next(&self) -> &[u8] {
        if self.first.is_empty() { &self.own[self.sent..] } else { &self.first }
    }

    /// Whether no bytes are left.
    pub(super) fn is_empty(&self) -> bool {
        self.next().is_empty()
    }

    /// The number of bytes that are left.
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.own.len() - self.sent
    }

    /// Notes that so many bytes of [`next`](Self::next) were sent.
    pub(super) fn advance(&mut self, count: usize) {
        if !self.first.is_empty() {
            drop(self.first.split_to(count));
            return;
        }
        self.sent += count;
        if self.sent == self.own.len() {
            self.sent = 0;
            self.own.clear();
            if self.own.capacity() > KEPT_BYTES {
                self.own = Vec::new();
            }
        }
    }

    /// Whether it has more memory than an idle connection should.
    pub(super) fn is_large(&self) -> bool {
        self.own.capacity() > IDLE_BYTES
    }

    /// The end of the buffer, to append bytes.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.own
    }

    /// Puts the rest of a shared frame before all other bytes. Only while no other rest is left.
    pub(super) fn put_first(&mut self, rest: Bytes) {
        debug_assert!(self.first.is_empty());
        self.first = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_rest_is_sent_before_own_bytes() {
        let mut outgoing = Outgoing::new(b"own".to_vec());
        outgoing.put_first(Bytes::from_static(b"rest"));
        let mut sent = Vec::new();
        while !outgoing.is_empty() {
            sent.push(outgoing.next()[0]);
            outgoing.advance(1);
        }
        assert_eq!(sent, b"restown");
        outgoing.end().extend_from_slice(b"more");
        assert_eq!(outgoing.next(), b"more");
    }
}
