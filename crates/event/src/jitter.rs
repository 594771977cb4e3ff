//! Random spread of durations, so that many clients do not act at the same moment.

use std::time::Duration;

/// Draws a duration from the range `base` ± `share` of it, with equal probability. `share` is 0 to
/// 1.
#[must_use]
pub fn spread(base: Duration, share: f64) -> Duration {
    base.mul_f64(1.0 + share * (2.0 * fastrand::f64() - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_durations_fill_their_range() {
        let base = Duration::from_secs(100);
        let drawn: Vec<_> = (0..1000).map(|_| spread(base, 0.1)).collect();
        assert!(drawn.iter().all(|d| (90.0..=110.0).contains(&d.as_secs_f64())));
        assert!(
            drawn.iter().any(|d| d.as_secs_f64() < 95.0) && drawn.iter().any(|d| d.as_secs_f64() > 105.0)
        );
    }
}
