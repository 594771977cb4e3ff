//! When each connection gets its heartbeat: once an interval, at a point of the interval of its own.

use super::Tick;

/// The most points that an interval has.
const POINTS_MAX: u64 = 128;

/// The shortest time between two points, in milliseconds.
const WIDTH_MIN: u64 = 10;

/// A connection, by its number, and by its serial number in case it is gone and another one has its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) client: u32,
    pub(super) serial: u32,
}

/// A wheel whose turn takes an interval. A connection stands at one point of it, drawn when it comes: those who come at
/// the same moment do not get their heartbeats at the same moment.
#[derive(Debug)]
pub(super) struct Beats {
    points: Vec<Vec<Beat>>,
    /// Milliseconds between two points.
    width: u64,
    /// The point that is next, and when.
    next: usize,
    next_at: Tick,
    standing: usize,
}

impl Beats {
    /// An empty wheel for an interval in milliseconds.
    pub(super) fn new(interval: u64, now: Tick) -> Self {
        let points = (interval / WIDTH_MIN).clamp(1, POINTS_MAX);
        let width = (interval / points).max(1);
        let points = (0..points).map(|_| Vec::new()).collect();
        Self { points, width, next: 0, next_at: now + width, standing: 0 }
    }

    /// Puts a connection at a point: its first heartbeat comes within the interval.
    pub(super) fn add(&mut self, beat: Beat) {
        let point = fastrand::usize(..self.points.len());
        self.points[point].push(beat);
        self.standing += 1;
    }

    /// When something is due; `None` where nobody stands on the wheel.
    pub(super) fn next_at(&self) -> Option<Tick> {
        if self.standing == 0 {
            return None;
        }
        let points = self.points.len();
        let ahead = (0..points).find(|ahead| !self.points[(self.next + ahead) % points].is_empty())?;
        Some(self.next_at + ahead as u64 * self.width)
    }

    /// Adds those whose point has come to `due`, and drops from the wheel whom `stays` does not want. A point that was
    /// missed for more than an interval comes once.
    pub(super) fn turn(&mut self, now: Tick, due: &mut Vec<Beat>, stays: impl Fn(Beat) -> bool) {
        let points = self.points.len();
        for _ in 0..points {
            if self.next_at > now {
                return;
            }
            let point = &mut self.points[self.next];
            let before = point.len();
            point.retain(|beat| stays(*beat));
            self.standing -= before - point.len();
            due.extend_from_slice(point);
            if point.is_empty() {
                *point = Vec::new();
            }
            self.next = (self.next + 1) % points;
            self.next_at += self.width;
        }
        self.next_at = self.next_at.max(now + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(interval: u64, clients: u32) -> Beats {
        let mut beats = Beats::new(interval, 0);
        (0..clients).for_each(|client| beats.add(Beat { client, serial: 0 }));
        beats
    }

    #[test]
    fn the_heartbeats_of_20_000_who_came_at_once_are_spread_over_the_interval() {
        const CLIENTS: u32 = 20_000;
        let mut beats = beats(15_000, CLIENTS);
        let (mut seen, mut most) = (vec![0_u32; CLIENTS as usize], 0);
        let mut due = Vec::new();
        while let Some(now) = beats.next_at().filter(|&at| at <= 15_000) {
            beats.turn(now, &mut due, |_| true);
            most = most.max(due.len());
            due.drain(..).for_each(|beat| seen[beat.client as usize] += 1);
        }
        assert!(seen.iter().all(|&count| count == 1), "each gets one an interval");
        // 156 on average; the draw makes it a little uneven.
        assert!(most < 300, "{most} at once");
    }

    #[test]
    fn a_connection_gets_its_heartbeat_at_its_interval_ever_after() {
        for interval in [1, 25, 100, 200, 15_000] {
            let mut beats = beats(interval, 1);
            let mut times = Vec::new();
            let mut due = Vec::new();
            while times.len() < 5 {
                let now = beats.next_at().unwrap();
                beats.turn(now, &mut due, |_| true);
                times.extend(due.drain(..).map(|_| now));
            }
            assert!(times[0] <= interval.max(1), "{times:?}");
            let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(pauses.iter().all(|&pause| pause <= interval && pause * 10 >= interval * 9), "{interval}: {pauses:?}");
        }
    }

    #[test]
    fn who_is_gone_is_forgotten_and_an_empty_wheel_waits_for_nothing() {
        let mut beats = beats(100, 3);
        let mut due = Vec::new();
        while let Some(now) = beats.next_at() {
            beats.turn(now, &mut due, |_| false);
        }
        assert!(due.is_empty() && beats.standing == 0);
    }

    #[test]
    fn a_long_sleep_costs_each_one_heartbeat() {
        let mut beats = beats(100, 10);
        let mut due = Vec::new();
        beats.turn(100_000, &mut due, |_| true);
        assert_eq!(due.len(), 10);
        due.clear();
        beats.turn(100_000, &mut due, |_| true);
        assert!(due.is_empty());
    }
}
