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
mod tests {
    use super::*;

    /// Heartbeats are spread over the interval, also of clients that connected at once.
    #[test]
    fn heartbeats_of_20_000_simultaneous_clients_are_spread() {
        const CLIENTS: usize = 20_000;
        const INTERVAL: u64 = 15_000;
        let mut heartbeat_wheel = HeartbeatWheel::new(INTERVAL, 0);
        let mut times: Vec<Vec<Tick>> = vec![Vec::new(); CLIENTS];
        let mut most = 0;
        while let Some(now) = heartbeat_wheel.next_at(CLIENTS, |_| true).filter(|&at| at <= 10 * INTERVAL) {
            let mut at_once = 0;
            while let Some(number) = heartbeat_wheel.pop(now, CLIENTS) {
                times[number as usize].push(now);
                at_once += 1;
            }
            most = most.max(at_once);
        }
        for times in &times {
            assert!(times[0] <= INTERVAL, "{times:?}");
            assert!(
                times.windows(2).all(|pair| (INTERVAL * 99 / 100..=INTERVAL).contains(&(pair[1] - pair[0])))
            );
        }
        assert!(most <= CLIENTS / 128 + 1, "{most} at once");
    }

    #[test]
    fn every_number_has_its_point_whatever_the_interval() {
        for interval in [1, 25, 100, 200, 790, 1000, 1580, 60_000] {
            let mut heartbeat_wheel = HeartbeatWheel::new(interval, 0);
            let mut counts = vec![0; 300];
            for now in 0..=interval {
                while let Some(number) = heartbeat_wheel.pop(now, counts.len()) {
                    counts[number as usize] += 1;
                }
            }
            assert!(counts.iter().all(|count| (1..=2).contains(count)), "{interval}: {counts:?}");
        }
    }

    #[test]
    fn neighbours_are_apart() {
        let mut heartbeat_wheel = HeartbeatWheel::new(12_800, 0);
        let mut order = Vec::new();
        for now in 0..=12_800 {
            order.extend(std::iter::from_fn(|| heartbeat_wheel.pop(now, 8)));
        }
        assert!(order.windows(2).any(|pair| pair[0].abs_diff(pair[1]) > 1), "{order:?}");
    }

    #[test]
    fn wait_ends_when_a_client_is_due() {
        let mut heartbeat_wheel = HeartbeatWheel::new(12_800, 0);
        assert_eq!(heartbeat_wheel.next_at(0, |_| true), None);
        assert_eq!(heartbeat_wheel.next_at(4, |_| false), None);
        let at = heartbeat_wheel.next_at(4, |number| number == 3).unwrap();
        assert_eq!(std::iter::from_fn(|| heartbeat_wheel.pop(at - 1, 4)).find(|&number| number == 3), None);
        assert_eq!(std::iter::from_fn(|| heartbeat_wheel.pop(at, 4)).find(|&number| number == 3), Some(3));
    }

    #[test]
    fn a_long_sleep_brings_one_heartbeat_and_not_many() {
        let mut heartbeat_wheel = HeartbeatWheel::new(1280, 0);
        let due = std::iter::from_fn(|| heartbeat_wheel.pop(100_000, 1)).count();
        assert!((1..=2).contains(&due), "{due}");
    }
}
