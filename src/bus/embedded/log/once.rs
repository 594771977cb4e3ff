//! Publications that are made once, however often they are asked for.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::event::EntryId;

/// For how long a publication is remembered, in milliseconds.
pub(super) const REMEMBERED_MILLISECONDS: u64 = 300_000;

/// What remembered publications may take together, in bytes. Beyond it the oldest are forgotten early.
const BYTES_MAX: usize = 16 << 20;

/// What one takes besides its key and its ids.
const OVERHEAD: usize = 256;

/// The ids that publications were given, by idempotency key.
#[derive(Debug, Default)]
pub(crate) struct Once {
    known: HashMap<Bytes, Vec<EntryId>>,
    /// Keys in the order in which they are forgotten.
    order: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Once {
    /// The ids of the publication with this key, if it is remembered.
    pub(super) fn recall(&self, key: &[u8]) -> Option<&[EntryId]> {
        self.known.get(key).map(Vec::as_slice)
    }

    /// Remembers a publication that is not remembered yet.
    pub(super) fn remember(&mut self, key: Bytes, ids: Vec<EntryId>, until: u64) {
        self.bytes += weight(&key, &ids);
        self.order.push_back((until, key.clone()));
        self.known.insert(key, ids);
    }

    /// Forgets what is due at this time, and the oldest beyond the bound. Answers the keys.
    pub(super) fn forget(&mut self, now: u64) -> Vec<Bytes> {
        let mut forgotten = Vec::new();
        while let Some((until, _)) = self.order.front()
            && (*until <= now || self.bytes > BYTES_MAX)
            && let Some((_, key)) = self.order.pop_front()
        {
            if let Some(ids) = self.known.remove(&key) {
                self.bytes -= weight(&key, &ids);
            }
            forgotten.push(key);
        }
        forgotten
    }
}

fn weight(key: &Bytes, ids: &[EntryId]) -> usize {
    OVERHEAD + key.len() + size_of_val(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Bytes {
        Bytes::from(format!("workspace:a/once/{number}"))
    }

    #[test]
    fn what_is_due_is_forgotten() {
        let mut once = Once::default();
        once.remember(key(1), vec![EntryId::ZERO], 100);
        once.remember(key(2), vec![], 200);
        assert!(once.forget(99).is_empty());
        assert_eq!(once.recall(&key(1)), Some(&[EntryId::ZERO][..]));
        assert_eq!(once.forget(100), [key(1)]);
        assert_eq!((once.recall(&key(1)), once.recall(&key(2))), (None, Some(&[][..])));
        assert_eq!(once.forget(u64::MAX), [key(2)]);
        assert_eq!(once.bytes, 0);
    }

    #[test]
    fn beyond_the_bound_the_oldest_go_first() {
        let mut once = Once::default();
        let many = BYTES_MAX / OVERHEAD;
        for number in 0..many {
            once.remember(key(number), vec![EntryId::ZERO], 100);
        }
        let forgotten = once.forget(0);
        assert!(once.bytes <= BYTES_MAX && !forgotten.is_empty());
        assert_eq!(forgotten[0], key(0));
        assert!(once.recall(&key(many - 1)).is_some());
    }
}
