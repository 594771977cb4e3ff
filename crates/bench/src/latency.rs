//! The latency of events: from the moment at which each was due to the moment at which a client had
//! it.
//!
//! It counts from the *due* moment instead of the sending, so a delayed publisher does not hide the
//! wait of its events. A count from the sending leaves out the worst of them (coordinated
//! omission).

use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use serde::Serialize;

/// The longest latency with a value of its own, in microseconds: an hour. A longer one counts as
/// this long.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// The most intervals that a run is parted into for the course of its latency.
const INTERVALS_MAX: u64 = 240;

/// Durations in a histogram: microseconds, to three digits.
#[derive(Debug, Clone)]
pub struct Durations(Histogram<u64>);

/// What a histogram comes to, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names of percentiles")]
pub struct Percentiles {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    #[serde(rename = "p99.9")]
    pub p999: f64,
    pub max: f64,
}

impl Durations {
    /// An empty histogram.
    ///
    /// # Errors
    ///
    /// None in practice: the bounds are constants that the library takes.
    pub fn new() -> Result<Self, CreationError> {
        Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map(Self)
    }

    /// Counts a duration.
    pub fn record(&mut self, duration: Duration) {
        self.0.saturating_record(microseconds(duration));
    }

    /// Adds all of another histogram.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, so that nothing can be out of them.
        let _ = self.0.add(&other.0);
    }

    /// The percentiles.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        percentiles(&self.0)
    }

    /// The whole distribution: shares of the events, from 0 up to all but one, with the latency in
    /// milliseconds that each share did not exceed. Ten points for each further nine.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let count = self.0.len();
        let shares = (0..=100).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 10.0));
        let shares = shares.take_while(|share| (1.0 - share) * count as f64 >= 0.999);
        shares.map(|share| (share, milliseconds(self.0.value_at_quantile(share)))).collect()
    }
}

/// The latencies of a run, all together and by the interval in which each event was due.
#[derive(Debug, Clone)]
pub struct Latencies {
    all: Durations,
    /// What is due before this is not counted: it warmed things up.
    from_ns: u64,
    interval_ns: u64,
    intervals: Vec<Histogram<u32>>,
}

/// An interval in the course of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Where it ends, in seconds from the first event that counts.
    pub second: f64,
    /// The latencies of what was due in it, in milliseconds.
    pub latency_ms: Percentiles,
}

impl Latencies {
    /// Nothing counted yet, of a run of this length.
    ///
    /// # Errors
    ///
    /// None in practice, as for [`Durations::new`].
    pub fn new(duration: Duration) -> Result<Self, CreationError> {
        let second = 1_000_000_000;
        let interval_ns = (nanoseconds(duration) / INTERVALS_MAX).div_ceil(second).max(1) * second;
        let count = nanoseconds(duration).div_ceil(interval_ns).max(1);
        let one = Histogram::new_with_bounds(1, LATENCY_US_MAX, 2)?;
        let intervals = (0..count).map(|_| one.clone()).collect();
        Ok(Self { all: Durations::new()?, from_ns: 0, interval_ns, intervals })
    }

    /// Only events that are due at this moment of the run's clock or later are counted.
    pub fn count_from(&mut self, moment: Duration) {
        self.from_ns = nanoseconds(moment);
    }

    /// An event that was due at one time was received at another, both in nanoseconds on the run's
    /// clock.
    pub fn record(&mut self, due_ns: u64, received_ns: u64) {
        let Some(since) = due_ns.checked_sub(self.from_ns) else { return };
        let latency = Duration::from_nanos(received_ns.saturating_sub(due_ns));
        self.all.record(latency);
        let last = self.intervals.len().saturating_sub(1);
        let at = usize::try_from(since / self.interval_ns).unwrap_or(usize::MAX).min(last);
        if let Some(interval) = self.intervals.get_mut(at) {
            interval.saturating_record(microseconds(latency));
        }
    }

    /// Adds all that was counted elsewhere for the same run.
    pub fn add(&mut self, other: &Self) {
        self.all.add(&other.all);
        for (mine, others) in self.intervals.iter_mut().zip(&other.intervals) {
            let _ = mine.add(others);
        }
    }

    /// All of them together.
    #[must_use]
    pub fn all(&self) -> &Durations {
        &self.all
    }

    /// The course of the run; intervals without events are left out.
    #[must_use]
    pub fn course(&self) -> Vec<Interval> {
        let interval = Duration::from_nanos(self.interval_ns).as_secs_f64();
        let ends = (1..).map(|number: u32| f64::from(number) * interval);
        let all = self.intervals.iter().zip(ends).filter(|(histogram, _)| !histogram.is_empty());
        all.map(|(histogram, second)| Interval { second, latency_ms: percentiles(histogram) }).collect()
    }
}

fn percentiles<T: hdrhistogram::Counter>(histogram: &Histogram<T>) -> Percentiles {
    if histogram.is_empty() {
        return Percentiles::default();
    }
    let at = |quantile| milliseconds(histogram.value_at_quantile(quantile));
    Percentiles {
        count: histogram.len(),
        mean: histogram.mean() / 1000.0,
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: milliseconds(histogram.max()),
    }
}

/// Nanoseconds of a duration, as many as 64 bits hold (584 years).
#[must_use]
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests;
