//! When each connection gets its heartbeat: once an interval, at a point of the interval of its own.

use super::Tick;

/// The share of an interval by which a connection's first heartbeat may come sooner.
const FIRST_SPREAD: f64 = 0.1;

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

/// A connection at a point.
#[derive(Debug, Clone, Copy)]
struct Standing {
    beat: Beat,
    /// Whether it had its first heartbeat, and stands at its own point since.
    settled: bool,
}

/// A wheel whose turn takes an interval. A connection gets its first heartbeat about an interval after it came, and draws a
/// point for all others then: those who come at the same moment do not get their heartbeats at the same moment ever after. No
/// pause is longer than the interval.
#[derive(Debug)]
pub(super) struct Beats {
    points: Vec<Vec<Standing>>,
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

    /// Puts a connection on the wheel.
    pub(super) fn add(&mut self, beat: Beat) {
        // The point that is next is less than a whole turn away from itself.
        let points = self.points.len();
        let sooner = (points as f64 * FIRST_SPREAD * fastrand::f64()) as usize;
        let point = (self.next + points - 1 - sooner.min(points - 1)) % points;
        self.points[point].push(Standing { beat, settled: false });
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
            let mut point = std::mem::take(&mut self.points[self.next]);
            let before = point.len();
            point.retain(|standing| stays(standing.beat));
            self.standing -= before - point.len();
            due.extend(point.iter().map(|standing| standing.beat));
            let moves: Vec<_> = point.extract_if(.., |standing| !standing.settled).collect();
            self.points[self.next] = point;
            for Standing { beat, .. } in moves {
                let own = fastrand::usize(..points);
                self.points[own].push(Standing { beat, settled: true });
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
        const INTERVAL: u64 = 15_000;
        let mut beats = beats(INTERVAL, CLIENTS);
        let mut times: Vec<Vec<Tick>> = vec![Vec::new(); CLIENTS as usize];
        let (mut first, mut later) = (0, 0);
        let mut due = Vec::new();
        while let Some(now) = beats.next_at().filter(|&at| at <= 10 * INTERVAL) {
            beats.turn(now, &mut due, |_| true);
            let most = if now <= INTERVAL { &mut first } else { &mut later };
            *most = due.len().max(*most);
            due.drain(..).for_each(|beat| times[beat.client as usize].push(now));
        }
        for times in &times {
            assert!((INTERVAL * 85 / 100..=INTERVAL).contains(&times[0]), "{times:?}");
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= INTERVAL), "{times:?}");
            assert!(times[1..].windows(2).all(|pair| pair[1] - pair[0] >= INTERVAL * 95 / 100), "{times:?}");
        }
        // The first are spread over a tenth of the interval. After that 156 are due at a time on average; the draw makes it a
        // little uneven.
        assert!(first < 2_200 && later < 300, "{first} and {later} at once");
    }

    #[test]
    fn a_short_interval_has_fewer_points() {
        for interval in [1, 25, 100, 200] {
            let mut beats = beats(interval, 1);
            let mut times = Vec::new();
            let mut due = Vec::new();
            while times.len() < 5 {
                let now = beats.next_at().unwrap();
                beats.turn(now, &mut due, |_| true);
                times.extend(due.drain(..).map(|_| now));
            }
            let mut pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(pauses.next().is_some_and(|pause| pause <= interval), "{interval}: {times:?}");
            assert!(
                pauses.all(|pause| pause <= interval && pause * 10 >= interval * 8),
                "{interval}: {times:?}"
            );
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
