//! What was measured.

use std::io::Write as _;
use std::time::Duration;

/// Measured times, in order.
#[derive(Debug, Clone)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Fails the test when nothing was measured.
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "nothing was measured");
        times.sort_unstable();
        Self(times)
    }

    /// The time that so many hundredths of all do not pass.
    pub(crate) fn percentile(&self, hundredths: usize) -> Duration {
        self.0[(self.0.len() * hundredths / 100).min(self.0.len() - 1)]
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }

    pub(crate) fn longest(&self) -> Duration {
        self.percentile(100)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// How often something came in each tenth of a time that begins `from` after the beginning.
pub(crate) fn tenths(
    moments: impl Iterator<Item = Duration>,
    from: Duration,
    length: Duration,
) -> [usize; 10] {
    let mut tenths = [0; 10];
    for moment in moments {
        let Some(since) = moment.checked_sub(from).filter(|since| *since < length) else { continue };
        let tenth = (since.as_micros() * 10 / length.as_micros()) as usize;
        tenths[tenth.min(9)] += 1;
    }
    tenths
}

/// How much more the fullest tenth has than all have on average.
pub(crate) fn unevenness(tenths: &[usize; 10]) -> f64 {
    let all: usize = tenths.iter().sum();
    let fullest = tenths.iter().max().copied().unwrap_or_default();
    fullest as f64 * 10.0 / all.max(1) as f64
}

/// Prints past the test harness, which keeps back what passing tests print.
pub(crate) fn print(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "scale: {line}");
}
