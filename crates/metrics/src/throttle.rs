//! A limit on log lines that clients can cause.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Allows one log line a second and counts the others.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<ThrottleState>);

#[derive(Debug, Default)]
struct ThrottleState {
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// The shortest time between two lines.
    pub const INTERVAL: Duration = Duration::from_secs(1);

    /// Returns whether a line may be written now: the number of lines suppressed since the last
    /// one, or `None`.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < Self::INTERVAL) {
            state.suppressed += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_has_the_count_of_suppressed_ones() {
        let throttle = Throttle::default();
        let start = Instant::now();
        assert_eq!(throttle.pass_at(start), Some(0));
        assert_eq!(throttle.pass_at(start + Duration::from_millis(400)), None);
        assert_eq!(throttle.pass_at(start + Duration::from_millis(999)), None);
        assert_eq!(throttle.pass_at(start + Duration::from_millis(1000)), Some(2));
        assert_eq!(throttle.pass_at(start + Duration::from_millis(2500)), Some(0));
    }
}
