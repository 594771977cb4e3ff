//! Log lines. `docs/logging.md` says what is logged, at which level, and what never is.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{LogConfig, LogFormat};

/// Sends log lines to standard error, in the configured form.
///
/// # Errors
///
/// When the level is not one.
pub fn install(config: &LogConfig) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&config.level)?;
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match config.format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
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
