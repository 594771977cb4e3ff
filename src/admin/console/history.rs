//! Samples of the last fifteen minutes, in memory of a fixed size.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// The seconds between two samples.
pub(super) const SAMPLE_SECONDS: u64 = 5;

/// The samples that are kept: fifteen minutes, and one before them for the rates of the first.
const SAMPLES_MAX: usize = 181;

/// The state of the node at one time. Totals are since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sample {
    /// Milliseconds since 1970.
    pub(super) at_ms: u64,
    pub(super) connections: u32,
    pub(super) streams: u32,
    pub(super) behind: u32,
    pub(super) bus_is_up: bool,
    pub(super) unsent_bytes: u64,
    pub(super) resident_bytes: u64,
    /// Totals.
    pub(super) forward_failures: u64,
    pub(super) schema_mismatches: u64,
    pub(super) events: u64,
    pub(super) deliveries: u64,
    pub(super) delivered_bytes: u64,
    pub(super) rejections: u64,
    pub(super) resets: u64,
}

/// The rates between two samples, each per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct SampleRates {
    pub(super) events: f64,
    pub(super) deliveries: f64,
    pub(super) delivered_bytes: f64,
    pub(super) rejections: f64,
    pub(super) resets: f64,
}

impl Sample {
    /// The rates since an earlier sample; zero if no time has passed.
    pub(super) fn rates_since(&self, earlier: &Self) -> SampleRates {
        let seconds = self.at_ms.saturating_sub(earlier.at_ms) as f64 / 1000.0;
        if seconds <= 0.0 {
            return SampleRates::default();
        }
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        SampleRates {
            events: rate(self.events, earlier.events),
            deliveries: rate(self.deliveries, earlier.deliveries),
            delivered_bytes: rate(self.delivered_bytes, earlier.delivered_bytes),
            rejections: rate(self.rejections, earlier.rejections),
            resets: rate(self.resets, earlier.resets),
        }
    }
}

/// The samples between two samples of reasons: a minute.
const SAMPLES_OF_REASONS: usize = 12;

/// The samples of reasons that are kept: fifteen minutes, and the one before them.
const REASONS_MAX: usize = 16;

/// The samples, the oldest first.
#[derive(Debug, Default)]
pub(super) struct SampleHistory(Mutex<VecDeque<Sample>>);

/// The totals of all reasons, a minute apart, the oldest first. The order of the reasons is always
/// the same.
#[derive(Debug, Default)]
pub(super) struct ReasonHistory(Mutex<ReasonSamples>);

#[derive(Debug, Default)]
struct ReasonSamples {
    totals: VecDeque<Vec<u64>>,
    skipped: usize,
}

impl ReasonHistory {
    /// Adds the totals of now, which come with each sample. Most are left out.
    pub(super) fn add(&self, totals: impl FnOnce() -> Vec<u64>) {
        let mut samples = self.0.lock();
        samples.skipped += 1;
        if samples.skipped < SAMPLES_OF_REASONS && !samples.totals.is_empty() {
            return;
        }
        samples.skipped = 0;
        if samples.totals.len() >= REASONS_MAX {
            samples.totals.pop_front();
        }
        samples.totals.push_back(totals());
    }

    /// Returns the counts since the oldest sample, at most about fifteen minutes ago.
    pub(super) fn recent(&self, totals: &[u64]) -> Vec<u64> {
        let samples = self.0.lock();
        let before = samples.totals.front();
        let at = |index| before.and_then(|before| before.get(index)).copied().unwrap_or_default();
        totals.iter().enumerate().map(|(index, total)| total.saturating_sub(at(index))).collect()
    }
}

impl SampleHistory {
    /// Adds a sample, in place of the oldest one if there are enough.
    pub(super) fn add(&self, sample: Sample) {
        let mut samples = self.0.lock();
        if samples.len() >= SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Returns all samples.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.0.lock().iter().copied().collect()
    }

    /// Returns the newest sample.
    pub(super) fn newest(&self) -> Option<Sample> {
        self.0.lock().back().copied()
    }

    /// Returns the newest sample that is at least this old, or else the oldest.
    pub(super) fn before(&self, now_ms: u64, age_ms: u64) -> Option<Sample> {
        let samples = self.0.lock();
        let is_old = |sample: &&Sample| now_ms.saturating_sub(sample.at_ms) >= age_ms;
        samples.iter().rev().find(is_old).or_else(|| samples.front()).copied()
    }

    /// Returns the newest sample from which a rate to `now_ms` is steady: at least half of the
    /// interval old, or else the oldest.
    pub(super) fn base(&self, now_ms: u64) -> Option<Sample> {
        self.before(now_ms, SAMPLE_SECONDS * 500)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at_ms: u64, events: u64) -> Sample {
        Sample { at_ms, events, ..Sample::default() }
    }

    #[test]
    fn history_keeps_fifteen_minutes() {
        let history = SampleHistory::default();
        assert_eq!(history.base(0), None);
        for index in 0..300 {
            history.add(at(index * 5000, index));
        }
        let samples = history.samples();
        assert_eq!(samples.len(), SAMPLES_MAX);
        assert_eq!((samples[0].events, samples[180].events), (119, 299));
    }

    #[test]
    fn reasons_are_counted_over_fifteen_minutes() {
        let history = ReasonHistory::default();
        assert_eq!(history.recent(&[7, 8]), [7, 8], "nothing is known before");
        let samples = 30 * SAMPLES_OF_REASONS as u64;
        for sample in 0..samples {
            history.add(|| vec![sample, 5]);
        }
        let minutes = history.recent(&[samples, 6])[0] / SAMPLES_OF_REASONS as u64;
        assert!((15..=16).contains(&minutes), "{minutes}");
        assert_eq!(history.recent(&[samples, 6])[1], 1);
        assert_eq!(history.0.lock().totals.len(), REASONS_MAX);
    }

    #[test]
    fn rates_are_per_second_over_a_steady_time() {
        let history = SampleHistory::default();
        history.add(at(10_000, 100));
        history.add(at(15_000, 200));
        assert_eq!(history.base(16_000).unwrap().at_ms, 10_000, "a second is too short");
        assert_eq!(history.base(17_500).unwrap().at_ms, 15_000);
        assert_eq!(at(20_000, 210).rates_since(&at(15_000, 200)).events, 2.0);
        assert_eq!(at(15_000, 300).rates_since(&at(15_000, 200)), SampleRates::default());
        assert_eq!(at(16_000, 0).rates_since(&at(15_000, 200)).events, 0.0, "a clock that was set");
    }
}
