//! Pauses between attempts.

use std::time::Duration;

/// Returns pauses that double from a minimum to a maximum. Each is drawn from the upper half of its
/// range, so that nodes which lost the same server do not reconnect at the same time.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// Returns the next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.max);
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Returns the longest pause.
    pub(super) fn max(&self) -> Duration {
        self.max
    }

    /// Resets the next pause to the minimum, after a success.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts to reconnect never end; their pauses are bounded.
    #[test]
    fn pauses_double_up_to_the_bound() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
        for expected in [100, 200, 400, 500, 500, 500] {
            let pause = backoff.pause().as_millis();
            assert!((expected / 2..=expected).contains(&pause), "{pause} for {expected}");
        }
        backoff.reset();
        assert!(backoff.pause().as_millis() <= 100);
    }
}
