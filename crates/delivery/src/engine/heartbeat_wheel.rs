//! When each connection gets its heartbeat: once an interval, at a point of the interval that follows from its number.

use super::Tick;

/// The most points that an interval has.
const POINTS_MAX: u64 = 128;

/// The shortest time between two points, in milliseconds.
const WIDTH_MIN: u64 = 10;

/// From one point to the next it is this many numbers on, so that connections that came one after the other are apart. It is
/// prime, so every number has its point however many points there are.
const STRIDE: u64 = 79;

/// A hand that goes round once an interval. Whose number leaves the remainder of a point, divided by the number of points,
/// is due there. Numbers are given without holes, so those who came at the same moment are spread evenly, and
/// nothing has to be kept for any of them.
#[derive(Debug)]
pub(super) struct HeartbeatWheel {
    points: u64,
    /// Milliseconds between two points.
    width: u64,
    /// The point that is next, and when.
    next: u64,
    next_at: Tick,
    /// The next number that is due, while those of a point are gone through.
    number: Option<u64>,
}

impl HeartbeatWheel {
    /// For an interval in milliseconds.
    pub(super) fn new(interval: u64, now: Tick) -> Self {
        let points = (interval / WIDTH_MIN).clamp(1, POINTS_MAX);
        let width = (interval / points).max(1);
        Self { points, width, next: 0, next_at: now + width, number: None }
    }

    fn remainder(&self, point: u64) -> u64 {
        // Not where there are 79 points exactly, which would put all numbers at one.
        if self.points == STRIDE { point } else { point * STRIDE % self.points }
    }

    /// When somebody is due, if there are numbers below `count`, and whose of them `is_there` says.
    pub(super) fn next_at(&self, count: usize, is_there: impl Fn(u32) -> bool) -> Option<Tick> {
        if self.number.is_some() {
            return Some(0);
        }
        let is_due = |point: u64| {
            // Where there are many, somebody is due at every point.
            count as u64 > self.points
                || u32::try_from(self.remainder(point % self.points)).is_ok_and(&is_there)
        };
        let ahead = (0..self.points).find(|ahead| count > 0 && is_due(self.next + ahead))?;
        Some(self.next_at + ahead * self.width)
    }

    /// The next number below `count` that is due; `None` where that is all for now.
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
            // Points that were missed for more than an interval come once.
            self.next_at = self.next_at.max(now.saturating_sub(self.points * self.width));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heartbeats are spread over the interval, also of clients that connected at once.
    #[test]
    fn the_heartbeats_of_20_000_who_came_at_once_are_spread_over_the_interval() {
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
    fn the_wait_is_until_somebody_is_due() {
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
