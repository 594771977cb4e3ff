//! The deadlines of connections.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tidings_hub::Tick;

/// The number of outdated timers that is always allowed.
const SPARE: usize = 1024;

/// The timers. Each connection knows its earliest valid one; its others are ignored.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Tick, u32)>>);

impl Timers {
    /// Sets a timer for a connection.
    pub(super) fn set(&mut self, at: Tick, client: u32) {
        self.0.push(Reverse((at, client)));
    }

    /// Whether there are so many timers that most belong to removed connections.
    pub(super) fn are_mostly_past(&self, clients: usize) -> bool {
        self.0.len() > 2 * clients + SPARE
    }

    /// Keeps the valid timers.
    pub(super) fn keep(&mut self, counts: impl Fn(Tick, u32) -> bool) {
        self.0.retain(|Reverse((at, client))| counts(*at, *client));
        self.0.shrink_to_fit();
    }

    /// The earliest time.
    pub(super) fn next_at(&self) -> Option<Tick> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest timer, if it is due.
    pub(super) fn pop(&mut self, now: Tick) -> Option<(Tick, u32)> {
        if self.next_at()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(moment)| moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_of_removed_clients_do_not_pile_up() {
        let mut timers = Timers::default();
        for client in 0..10_000 {
            timers.set(u64::from(client), client);
            if timers.are_mostly_past(10) {
                timers.keep(|_, of| client - of < 10);
            }
        }
        assert!(timers.0.len() <= 20 + SPARE && timers.0.capacity() <= 4 * SPARE);
        assert_eq!(timers.0.into_iter().filter(|Reverse((_, of))| 10_000 - of <= 10).count(), 10);
    }

    #[test]
    fn timers_fire_in_order_and_not_early() {
        let mut timers = Timers::default();
        for (at, client) in [(30, 1), (10, 2), (20, 3)] {
            timers.set(at, client);
        }
        assert_eq!(timers.next_at(), Some(10));
        assert_eq!(timers.pop(9), None);
        assert_eq!(timers.pop(20), Some((10, 2)));
        assert_eq!(timers.pop(20), Some((20, 3)));
        assert_eq!(timers.pop(20), None);
    }
}
