//! Bytes that wait for one connection alone.

use bytes::Bytes;

/// A queue that keeps more memory than this gives it back when it is empty.
const KEPT_BYTES: usize = 64 * 1024;

/// What somebody idle may keep, so that small events take no memory each time.
const IDLE_BYTES: usize = 1024;

/// What one connection is to be sent before anything that it shares with others.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Goes out first: what is left of something shared.
    first: Bytes,
    own: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// Bytes of the connection's own.
    pub(super) fn new(own: Vec<u8>) -> Self {
        Self { first: Bytes::new(), own, sent: 0 }
    }

    /// What goes out next.
    pub(super) fn next(&self) -> &[u8] {
        if self.first.is_empty() { &self.own[self.sent..] } else { &self.first }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.next().is_empty()
    }

    /// So many bytes of [`next`](Self::next) are out.
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

    /// Whether it keeps more memory than somebody idle should.
    pub(super) fn is_large(&self) -> bool {
        self.own.capacity() > IDLE_BYTES
    }

    /// Where more is added.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.own
    }

    /// Puts what is left of something shared before everything else. Only while nothing is left of
    /// another.
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
