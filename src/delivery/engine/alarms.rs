//! Moments at which connections have to be looked at.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Tick;

/// The moments that are set. Each connection knows the earliest one that counts for it; others of it are passed over when
/// they come.
#[derive(Debug, Default)]
pub(super) struct Alarms(BinaryHeap<Reverse<(Tick, u32)>>);

impl Alarms {
    /// Sets a moment for a connection.
    pub(super) fn set(&mut self, at: Tick, client: u32) {
        self.0.push(Reverse((at, client)));
    }

    /// The earliest moment.
    pub(super) fn next_at(&self) -> Option<Tick> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out the earliest moment, if it has come.
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
    fn moments_come_in_their_order_and_not_before_their_time() {
        let mut alarms = Alarms::default();
        for (at, client) in [(30, 1), (10, 2), (20, 3)] {
            alarms.set(at, client);
        }
        assert_eq!(alarms.next_at(), Some(10));
        assert_eq!(alarms.pop(9), None);
        assert_eq!(alarms.pop(20), Some((10, 2)));
        assert_eq!(alarms.pop(20), Some((20, 3)));
        assert_eq!(alarms.pop(20), None);
    }
}
