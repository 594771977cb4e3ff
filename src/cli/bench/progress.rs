//! What a run shows while it goes on: a bar and a line, on a terminal only.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use tidings_bench::latency::Percentiles;
use tidings_bench::table::{grouped, short};

/// The time between two lines: each costs some work that would disturb what is measured.
const PAUSE: Duration = Duration::from_millis(250);

/// The bar and its line. It goes from the screen with the value.
pub(super) struct Progress {
    bar: ProgressBar,
    shown: bool,
    written: Option<Instant>,
}

impl Progress {
    /// Shows nothing yet, and never anything where standard error is no terminal.
    pub(super) fn new() -> Self {
        let shown = std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(1), target);
        if let Ok(style) = ProgressStyle::with_template("{prefix:>10} [{bar:30}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, shown, written: None }
    }

    /// Whether to write the line again: often enough for the eye, and only on a terminal.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.shown && self.written.is_none_or(|written| written.elapsed() >= PAUSE);
        if due {
            self.written = Some(Instant::now());
        }
        due
    }

    /// Streams are being opened.
    pub(super) fn connecting(&self, open: usize, all: usize) {
        self.bar.set_prefix("connecting");
        self.bar.set_length(all as u64);
        self.bar.set_position(open as u64);
        self.bar.set_message(format!("{} of {} streams", grouped(open as u64), grouped(all as u64)));
    }

    /// Events are being published; `latency` is that of all so far.
    pub(super) fn publishing(&self, done: Duration, all: Duration, now: &Now) {
        self.bar.set_prefix("publishing");
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.bar.set_length(milliseconds(all));
        self.bar.set_position(milliseconds(done.min(all)));
        self.bar.set_message(format!(
            "{:.0}/{:.0} s, {} open, {} events, {} deliveries, p50 {} ms, p99 {} ms",
            done.min(all).as_secs_f64(),
            all.as_secs_f64(),
            grouped(now.open as u64),
            grouped(now.events),
            grouped(now.deliveries),
            short(now.latency.p50),
            short(now.latency.p99)
        ));
    }

    /// Something is waited for.
    pub(super) fn waiting(&self, what: &'static str) {
        self.bar.set_prefix("waiting");
        self.bar.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The present state.
pub(super) struct Now {
    pub(super) open: usize,
    pub(super) events: u64,
    pub(super) deliveries: u64,
    pub(super) latency: Percentiles,
}
