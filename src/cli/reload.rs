//! The reload of `tidings serve`: each SIGHUP reads the configuration again.

use std::sync::Arc;

use tokio::signal::unix::Signal;

use crate::config::{ConfigChanges, Loaded, Sources};
use crate::server::ServerReload;
use crate::service_manager::notify::{Notifier, ProcessState};
use crate::telemetry::LogControl;

/// Reads the configuration again, and replaces the settings of the running node.
pub(super) struct Reloader {
    pub(super) sources: Sources,
    /// The configuration of the start.
    pub(super) started: Loaded,
    pub(super) server: ServerReload,
    pub(super) log: LogControl,
    pub(super) notifier: Arc<Notifier>,
}

impl Reloader {
    /// Handles each SIGHUP. Never ends while the process can get signals.
    pub(super) async fn run(self, mut hangups: Signal) {
        let reloader = Arc::new(self);
        let mut in_force = Arc::new(reloader.started.clone());
        while hangups.recv().await.is_some() {
            reloader.notifier.send(Some(ProcessState::Reloading), None).await;
            let (doing, before) = (Arc::clone(&reloader), Arc::clone(&in_force));
            // Reading files blocks.
            match tokio::task::spawn_blocking(move || doing.reload(&before)).await {
                Ok(Ok(loaded)) => in_force = Arc::new(loaded),
                Ok(Err(error)) => report_failure(&error),
                Err(error) => report_failure(&error.to_string()),
            }
            reloader.notifier.send(Some(ProcessState::Ready), None).await;
        }
    }

    /// Reads, checks and compares the configuration, then replaces what can be replaced. Returns
    /// the configuration that is in force then, or what is wrong with the new one.
    fn reload(&self, in_force: &Loaded) -> Result<Loaded, String> {
        let new = self.sources.load().map_err(|error| error.to_string())?;
        let changes = ConfigChanges::new(&self.started, in_force, &new);
        self.server.apply(&changes).map_err(|error| error.to_string())?;
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
        Ok(new)
    }
}

fn report_success(changes: &ConfigChanges) {
    tracing::info!(applied = list(&changes.applied), "the configuration was read again");
    if !changes.restart.is_empty() {
        tracing::warn!(settings = list(&changes.restart), "changed settings need a restart");
    }
}

fn report_failure(error: &str) {
    // One line, whatever the number of problems.
    let error = error.replace('\n', "; ");
    tracing::error!(error, "the configuration cannot be read again: the settings before it stay in use");
}

/// Keys with commas; `None` without any.
fn list(keys: &[&str]) -> Option<String> {
    (!keys.is_empty()).then(|| keys.join(", "))
}
