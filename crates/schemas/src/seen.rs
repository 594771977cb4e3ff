//! The events that need no further check, because the node has checked them already.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;

use tidings_event::EntryId;
use tidings_event::workspace::WorkspaceId;

/// Keys that are remembered.
const KEYS_MAX: usize = 16_384;

/// Names one event, or one payload in a workspace.
pub(crate) type EventKey = u64;

/// Makes keys with a random part, so that no publisher can make two events with the same one.
#[derive(Debug, Default)]
pub(crate) struct EventKeys(RandomState);

impl EventKeys {
    /// The key of a payload that HTTP has checked. Its event has no id yet.
    pub(crate) fn payload(&self, workspace: &WorkspaceId, payload: &Bytes) -> EventKey {
        self.0.hash_one((workspace, &payload[..]))
    }

    /// The key of a durable event.
    pub(crate) fn entry(&self, workspace: &WorkspaceId, id: EntryId) -> EventKey {
        self.0.hash_one((workspace, id.milliseconds, id.sequence))
    }
}

/// A bounded set of keys, with the number of times that each was added. It forgets the oldest.
#[derive(Debug, Default)]
pub(crate) struct SeenEvents {
    counts: HashMap<EventKey, u32>,
    order: VecDeque<EventKey>,
}

impl SeenEvents {
    pub(crate) fn add(&mut self, key: EventKey) {
        *self.counts.entry(key).or_default() += 1;
        self.order.push_back(key);
        if self.order.len() > KEYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.take(oldest);
        }
    }

    /// Whether a key was added.
    pub(crate) fn contains(&self, key: EventKey) -> bool {
        self.counts.contains_key(&key)
    }

    /// Removes a key once. Returns whether it was there.
    pub(crate) fn take(&mut self, key: EventKey) -> bool {
        let Some(count) = self.counts.get_mut(&key) else { return false };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&key);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_counts_as_often_as_it_was_added() {
        let mut seen = SeenEvents::default();
        seen.add(1);
        seen.add(1);
        assert!(seen.contains(1) && seen.take(1) && seen.take(1));
        assert!(!seen.contains(1) && !seen.take(1));
    }

    #[test]
    fn oldest_keys_are_forgotten() {
        let mut seen = SeenEvents::default();
        (0..KEYS_MAX as u64 + 10).for_each(|key| seen.add(key));
        assert!(!seen.contains(9) && seen.contains(10));
        assert_eq!((seen.counts.len(), seen.order.len()), (KEYS_MAX, KEYS_MAX));
    }
}
