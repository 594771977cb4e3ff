//! Log lines. `docs/logging.md` says what is logged, at which level, and what never is.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{LogConfig, LogFormat};
use tidings_metrics::Throttle;

mod flood;
mod line_rate;
mod recent;
mod refusals;
mod writer;

use flood::FloodFilter;
use writer::BackgroundWriter;

pub use recent::{RecentLine, RecentLines};
pub use refusals::RecentRefusal;

/// How long the end of the process waits for a reader of what is still to be written.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a panic waits for its line to be written, as the process may end by it.
const PANIC_TIMEOUT: Duration = Duration::from_millis(100);

/// Everything that a server prints: log lines on standard error and lines for people on standard
/// output. Both go through bounded queues, and no caller waits for a reader.
#[derive(Debug)]
pub struct Telemetry {
    log: BackgroundWriter,
    output: BackgroundWriter,
    flood: FloodFilter,
    control: LogControl,
    recent: RecentLines,
}

/// Replaces the settings of the log while the process writes it.
#[derive(Clone)]
pub struct LogControl {
    set_filter: Arc<dyn Fn(EnvFilter) + Send + Sync>,
    flood: FloodFilter,
}

/// Log lines cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The configured level is not one.
    #[error("log.level: {0}")]
    Level(#[from] ParseError),
    /// The system gives no thread.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(#[from] io::Error),
    /// The process has a log already.
    #[error("the process has a log already: {0}")]
    Taken(#[from] TryInitError),
}

impl Telemetry {
    /// Sends log lines, and the messages of panics, to standard error in the configured form.
    ///
    /// # Errors
    ///
    /// [`InstallError`], when the level is not one, or the process has no thread left or another
    /// log.
    pub fn install(config: &LogConfig) -> Result<Self, InstallError> {
        let filter = EnvFilter::try_new(&config.level)?;
        let log = BackgroundWriter::start("tidings-log", io::stderr(), report_dropped)?;
        // Without a line for what is dropped: it is for people at the first run, and no log.
        let output = BackgroundWriter::start("tidings-output", io::stdout(), |_| {})?;
        let flood = FloodFilter::new(NonZeroU32::new(config.lines_per_second));
        let recent = RecentLines::default();
        let target = log.clone();
        // What the formatter reports of its own errors goes to standard error directly, and panics
        // where that is closed.
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || target.clone())
            .with_target(false)
            .log_internal_errors(false);
        let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
        let [no_color, term] = ["NO_COLOR", "TERM"].map(std::env::var_os);
        let has_colours = has_colours(is_terminal, no_color.as_deref(), term.as_deref());
        let set_filter: Arc<dyn Fn(EnvFilter) + Send + Sync> = match config.format {
            LogFormat::Text => {
                let lines = lines.with_ansi(has_colours).with_filter_reloading();
                let handle = lines.reload_handle();
                lines.finish().with(recent.clone()).with(flood.clone()).try_init()?;
                // The log lives as long as the process, so this never fails.
                Arc::new(move |filter| drop(handle.reload(filter)))
            }
            LogFormat::Json => {
                // The list of spans has the current one already.
                let lines = lines.json().flatten_event(true).with_current_span(false).with_filter_reloading();
                let handle = lines.reload_handle();
                lines.finish().with(recent.clone()).with(flood.clone()).try_init()?;
                // The log lives as long as the process, so this never fails.
                Arc::new(move |filter| drop(handle.reload(filter)))
            }
        };
        let control = LogControl { set_filter, flood: flood.clone() };
        // The hook of the standard library would wait for the reader.
        let panics = log.clone();
        std::panic::set_hook(Box::new(move |panic| {
            report_panic(panic);
            panics.flush(PANIC_TIMEOUT);
        }));
        Ok(Self { log, output, flood, control, recent })
    }

    /// Replaces settings of the log.
    #[must_use]
    pub fn control(&self) -> LogControl {
        self.control.clone()
    }

    /// Counts lines that could not be written in `counter`, those of the past included.
    pub fn count_dropped_in(&self, counter: Counter) {
        self.log.count_dropped_in(counter);
    }

    /// The last warnings and errors, for the console.
    #[must_use]
    pub fn recent_lines(&self) -> RecentLines {
        self.recent.clone()
    }

    /// Writes a line to standard output.
    pub fn print(&self, line: &str) {
        self.output.write(format!("{line}\n").as_bytes());
    }

    /// Writes a line to standard error that is no log line.
    pub fn print_error(&self, line: &str) {
        self.log.write(format!("{line}\n").as_bytes());
    }

    /// Writes how many lines were left out, once a second. Cancellation safe.
    pub async fn report_floods(&self) -> std::convert::Infallible {
        let mut tick = tokio::time::interval(Throttle::INTERVAL);
        loop {
            tick.tick().await;
            self.flood.report();
        }
    }

    /// Waits until everything is written, for a second at most. Blocks the thread.
    pub fn finish(&self) {
        self.flood.report();
        let began = Instant::now();
        self.log.flush(END_TIMEOUT);
        self.output.flush(END_TIMEOUT.saturating_sub(began.elapsed()));
    }
}

impl LogControl {
    /// Replaces the level and the bound on lines of one kind.
    ///
    /// # Errors
    ///
    /// If the level is not one. Then nothing is replaced.
    pub fn set(&self, config: &LogConfig) -> Result<(), InstallError> {
        let filter = EnvFilter::try_new(&config.level)?;
        (self.set_filter)(filter);
        self.flood.set_rate(NonZeroU32::new(config.lines_per_second));
        Ok(())
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl").finish_non_exhaustive()
    }
}

/// Whether lines have colours: on a terminal that can show them, unless its user wants none
/// (<https://no-color.org>).
fn has_colours(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

fn report_dropped(lines: u64) {
    tracing::warn!(lines, "log lines were lost: standard error was full, or its reader too slow");
}

fn report_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = std::backtrace::Backtrace::capture();
    let is_captured = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
    tracing::error!(
        thread = std::thread::current().name(),
        location = panic.location().map(tracing::field::display),
        panic = panic.payload_as_str().map(tracing::field::debug),
        backtrace = is_captured.then_some(tracing::field::debug(backtrace)),
        "a task panicked: this is a fault of the program, please report it with this line"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_that_wants_them() {
        let has = |is_terminal, no_color: Option<&str>, term: Option<&str>| {
            has_colours(is_terminal, no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert!(has(true, None, None) && has(true, Some(""), Some("xterm-256color")));
        assert!(!has(false, None, Some("xterm")), "a file or a pipe");
        assert!(!has(true, Some("1"), Some("xterm")) && !has(true, Some("0"), None));
        assert!(!has(true, None, Some("dumb")));
    }
}
