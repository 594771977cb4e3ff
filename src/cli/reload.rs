//! The reload of `tidings serve`: each SIGHUP reads the configuration again.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::Semaphore;

use super::terminal::StartTerminal;
use crate::config::{ConfigChanges, Loaded, Sources};
use crate::server::{PreparedReload, ServerReload};
use crate::service_manager::notify::{Notifier, ProcessState};
use crate::telemetry::LogControl;

/// Limits the time to read all files. Afterwards the settings before stay in use.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Limits the reads whose file system does not respond: each holds a thread.
const STALLED_READS_MAX: usize = 4;

/// Reads the configuration again, and replaces the settings of the running node.
pub(super) struct Reloader {
    pub(super) sources: Sources,
    /// The configuration of the start.
    pub(super) started: Loaded,
    pub(super) server: ServerReload,
    pub(super) log: LogControl,
    pub(super) notifier: Arc<Notifier>,
    pub(super) terminal: StartTerminal,
}

/// A configuration that was read again, with the contents of its files.
struct NewConfig {
    loaded: Loaded,
    changes: ConfigChanges,
    prepared: PreparedReload,
}

impl Reloader {
    /// Handles each SIGHUP. Ends when the terminal of the node has closed.
    pub(super) async fn run(self, mut hangups: Signal) {
        let reloader = Arc::new(self);
        let mut in_force = Arc::new(reloader.started.clone());
        let reads = Arc::new(Semaphore::new(STALLED_READS_MAX));
        while hangups.recv().await.is_some() {
            if reloader.terminal.has_closed() {
                return;
            }
            reloader.notifier.send(Some(ProcessState::Reloading), None).await;
            let (doing, before) = (Arc::clone(&reloader), Arc::clone(&in_force));
            let read = read_within(READ_TIMEOUT, &reads, move || doing.read(&before)).await;
            let error = match read.and_then(|new| reloader.apply(new)) {
                Ok(loaded) => {
                    in_force = Arc::new(loaded);
                    None
                }
                Err(error) => Some(report_failure(&error)),
            };
            reloader.server.note_outcome(error.is_none());
            reloader.notifier.reloaded(error).await;
            // The end of a shell sends the signal before the system takes its terminal away.
            if reloader.terminal.has_closed() {
                return;
            }
        }
    }

    /// Reads, checks and compares the configuration, and reads the files that it names. Returns
    /// what is wrong with it otherwise. Blocks.
    fn read(&self, in_force: &Loaded) -> Result<NewConfig, String> {
        let loaded = self.sources.load().map_err(|error| error.to_string())?;
        let changes = ConfigChanges::new(&self.started, in_force, &loaded);
        let prepared = self.server.prepare(&changes).map_err(|error| error.to_string())?;
        Ok(NewConfig { loaded, changes, prepared })
    }

    /// Replaces what can be replaced. Returns the configuration that is in force then.
    fn apply(&self, new: NewConfig) -> Result<Loaded, String> {
        let NewConfig { loaded, changes, prepared } = new;
        self.server.apply(&changes, prepared);
        // By the level that shows it: the one before, or the new one.
        let is_shown = tracing::enabled!(tracing::Level::INFO);
        if is_shown {
            report_success(&changes);
        }
        if changes.applies("log.") {
            // The rules of the configuration have checked the level.
            self.log.set(&changes.config.log).map_err(|error| error.to_string())?;
        }
        if !is_shown {
            report_success(&changes);
        }
        Ok(loaded)
    }
}

/// Reads files on a thread of its own, within a time. The outcome of a later end is dropped, and
/// its thread holds one of `places` until then.
///
/// Cancellation safe: the outcome is dropped.
async fn read_within<T: Send + 'static>(
    timeout: Duration,
    places: &Arc<Semaphore>,
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        return Err(
            "earlier reads of the files have not ended: their file system does not respond".to_owned()
        );
    };
    let reading = tokio::task::spawn_blocking(move || {
        let _place = place;
        read()
    });
    match tokio::time::timeout(timeout, reading).await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "the files of the configuration cannot be read within {} s: check their file system",
            timeout.as_secs()
        )),
    }
}

fn report_success(changes: &ConfigChanges) {
    tracing::info!(applied = list(&changes.applied), "the configuration was read again");
    if !changes.restart.is_empty() {
        tracing::warn!(settings = list(&changes.restart), "changed settings need a restart");
    }
}

/// Logs a failure; returns it as one line, whatever the number of problems.
fn report_failure(error: &str) -> String {
    let error = error.replace('\n', "; ");
    tracing::error!(error, "the configuration cannot be read again: the settings before it stay in use");
    error
}

/// Keys with commas; `None` without any.
fn list(keys: &[&str]) -> Option<String> {
    (!keys.is_empty()).then(|| keys.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system that does not respond blocks its thread, and no later read.
    #[tokio::test]
    async fn stalled_reads_end_in_time_and_are_bounded() {
        let places = Arc::new(Semaphore::new(2));
        let (resume, stalled) = std::sync::mpsc::channel::<()>();
        let stalled = Arc::new(parking_lot::Mutex::new(stalled));
        for _ in 0..2 {
            let stalled = Arc::clone(&stalled);
            let read = move || stalled.lock().recv().map_err(|error| error.to_string());
            let error = read_within(Duration::from_millis(20), &places, read).await.unwrap_err();
            assert!(error.contains("cannot be read within"), "{error}");
        }
        let error = read_within(READ_TIMEOUT, &places, || Ok(1)).await.unwrap_err();
        assert!(error.contains("earlier reads"), "{error}");
        drop(resume);
        drop(places.acquire_many(2).await.unwrap());
        assert_eq!(read_within(READ_TIMEOUT, &places, || Ok(2)).await, Ok(2));
    }
}
