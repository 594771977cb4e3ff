//! The rate of log lines of one kind. It has neither a clock nor output.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// The time over which lines are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// The reasons that a rate counts by name. The lines with further ones count as [`OTHERS`].
const REASONS_MAX: usize = 16;

/// The longest reason that a rate counts by name, in bytes. Longer ones are texts for people.
const REASON_BYTES_MAX: usize = 48;

/// The name of all other reasons.
const OTHERS: &str = "others";

/// Decides about each line of one kind: written, or left out and counted.
///
/// A second has a number of lines. Further ones are a flood, of which no line is written until a
/// second has no more lines than that number.
#[derive(Debug)]
pub(super) struct LineRate {
    per_second: NonZeroU32,
    /// The begin of the current window.
    since: Instant,
    /// The lines of the current window, written or not.
    lines: u32,
    is_flood: bool,
    left_out: LeftOut,
}

/// The lines that were left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Their number.
    pub(super) lines: u64,
    /// Their number for each reason that they name.
    reasons: BTreeMap<String, u64>,
}

impl LineRate {
    pub(super) fn new(per_second: NonZeroU32, now: Instant) -> Self {
        Self { per_second, since: now, lines: 0, is_flood: false, left_out: LeftOut::default() }
    }

    /// Counts a line, and returns whether to write it. [`leave_out`](Self::leave_out) counts it
    /// otherwise.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        if age >= WINDOW {
            let was_full = self.lines > self.per_second.get();
            // After a window without any line there is no flood.
            self.is_flood = was_full && age < 2 * WINDOW;
            self.since = now;
            self.lines = 0;
        }
        self.lines = self.lines.saturating_add(1);
        !self.is_flood && self.lines <= self.per_second.get()
    }

    /// Counts a line that is not written.
    pub(super) fn leave_out(&mut self, reason: Option<&str>) {
        self.left_out.lines = self.left_out.lines.saturating_add(1);
        let Some(reason) = reason else { return };
        let reasons = &mut self.left_out.reasons;
        let is_named =
            reason.len() <= REASON_BYTES_MAX && (reasons.len() < REASONS_MAX || reasons.contains_key(reason));
        let count = reasons.entry(if is_named { reason } else { OTHERS }.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// Returns the lines that were left out since the last call, if there are any.
    pub(super) fn take_left_out(&mut self) -> Option<LeftOut> {
        (self.left_out.lines > 0).then(|| std::mem::take(&mut self.left_out))
    }
}

impl LeftOut {
    /// The reasons with their numbers, the most frequent first; `None` without reasons.
    pub(super) fn reasons(&self) -> Option<String> {
        let mut sorted: Vec<_> = self.reasons.iter().collect();
        sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut text = String::new();
        for (reason, count) in sorted {
            let separator = if text.is_empty() { "" } else { ", " };
            // A String takes everything.
            let _ = write!(text, "{separator}{reason} {count}");
        }
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests;
