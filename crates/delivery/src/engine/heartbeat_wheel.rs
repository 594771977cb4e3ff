//! The heartbeat times of connections: once an interval, at a point that depends on the
//! connection's number.

use tidings_hub::Tick;

/// The most points of an interval.
const POINTS_MAX: u64 = 128;

/// The shortest time between two points, in milliseconds.
const WIDTH_MIN: u64 = 10;

/// The step in numbers from one point to the next, so that consecutive connections are apart. It is
/// prime, so every number has a point for any number of points.
const STRIDE: u64 = 79;

/// A wheel that turns once an interval. A connection is due at the point given by its number modulo
/// the number of points. Numbers are assigned without gaps, so simultaneous connections are spread
/// evenly, without memory for each of them.
#[derive(Debug)]
pub(super) struct HeartbeatWheel {
    points: u64,
    /// Milliseconds between two points.
    width: u64,
    /// The next point, and its time.
    next: u64,
    next_at: Tick,
    /// The next due number of the current point.
    number: Option<u64>,
}

impl HeartbeatWheel {
    /// Creates the wheel for an interval in milliseconds.
    pub(super) fn new(interval: u64, now: Tick) -> Self {
        let points = (interval / WIDTH_MIN).clamp(1, POINTS_MAX);
        let width = (interval / points).max(1);
        Self { points, width, next: 0, next_at: now + width, number: None }
    }

    fn remainder(&self, point: u64) -> u64 {
        // With exactly 79 points, the product would put all numbers at one point.
        if self.points == STRIDE { point } else { point * STRIDE % self.points }
    }

    /// The time at which the next connection is due, if there are numbers below `count`. `is_there`
    /// returns whether a number is in use.
    pub(super) fn next_at(&self, count: usize, is_there: impl Fn(u32) -> bool) -> Option<Tick> {
        if self.number.is_some() {
            return Some(0);
        }
        let is_due = |point: u64| {
            // With many connections, one is due at every point.
            count as u64 > self.points
                || u32::try_from(self.remainder(point % self.points)).is_ok_and(&is_there)
        };
        let ahead = (0..self.points).find(|ahead| count > 0 && is_due(self.next + ahead))?;
        Some(self.next_at + ahead * self.width)
    }

    /// The next due number below `count`; `None` if no other is due now.
    pub(super) fn pop(&mut self, now: Tick, count: usize) -> Option<u32> {
        loop {
            if let Some(number) = self.number {
                if let Ok(due) = u32::try_from(number)
                    && number < count as u64
                {
                    self.number = Some(number + self.points);
                    return Some(due);
                }
                self.number = None;
            }
            if self.next_at > now {
                return None;
            }
            self.number = Some(self.remainder(self.next));
            self.next = (self.next + 1) % self.points;
            self.next_at += self.width;
            // Points missed for more than an interval come once.
            self.next_at = self.next_at.max(now.saturating_sub(self.points * self.width));
        }
    }
}

#[cfg(test)]
mod tests;
