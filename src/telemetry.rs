//! Log lines. `docs/logging.md` says what is logged, at which level, and what never is.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{LogConfig, LogFormat};

/// Lines that may wait to be written. What comes beyond them is lost: nobody who serves clients may wait for whoever reads the log.
const WAITING_LINES_MAX: usize = 8192;

/// Sends log lines to standard error, in the configured form, by a thread of their own. To be kept until the program ends:
/// dropped, it writes what still waits.
///
/// # Errors
///
/// When the level is not one.
pub fn install(config: &LogConfig) -> Result<WorkerGuard, ParseError> {
    let filter = EnvFilter::try_new(&config.level)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES_MAX)
        .thread_name("tidings-log")
        .finish(std::io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    match config.format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(guard)
}

/// An error with what caused it, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Lets one log line a second through and counts the others, for lines that the network can cause.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<ThrottleState>);

#[derive(Debug, Default)]
struct ThrottleState {
    last: Option<Instant>,
    silenced: u64,
}

impl Throttle {
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Whether a line may be written now: if so, the number of lines that were held back since the last one.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < Self::INTERVAL) {
            state.silenced += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.silenced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_that_says_how_many_were_held_back() {
        let throttle = Throttle::default();
        let start = Instant::now();
        assert_eq!(throttle.pass_at(start), Some(0));
        assert_eq!(throttle.pass_at(start + Duration::from_millis(400)), None);
        assert_eq!(throttle.pass_at(start + Duration::from_millis(999)), None);
        assert_eq!(throttle.pass_at(start + Duration::from_millis(1000)), Some(2));
        assert_eq!(throttle.pass_at(start + Duration::from_millis(2500)), Some(0));
    }
}
