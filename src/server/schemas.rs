//! Reads the schemas, and starts the checks of events.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::start_error::StartError;
use tidings_event::SchemaVersion;
use tidings_metrics::Metrics;
use tidings_schemas::{SchemaCheck, SchemaMode, SchemaSet};

/// The settings of the schemas.
#[derive(Debug)]
pub(super) struct SchemaSettings {
    /// The directory.
    pub(super) path: PathBuf,
    /// What happens to an event over HTTP that does not match; `None`: no event is checked.
    pub(super) mode: Option<SchemaMode>,
    /// Bound on a check that waits for a thread.
    pub(super) patience: Duration,
}

/// The schemas of a node.
#[derive(Debug, Default)]
pub(super) struct NodeSchemas {
    /// Their version; `None` without schemas.
    pub(super) version: Option<SchemaVersion>,
    /// Checks events; `None` if no event is checked.
    pub(super) check: Option<Arc<SchemaCheck>>,
}

impl NodeSchemas {
    /// Reads the schemas of a node, if it has some.
    ///
    /// # Errors
    ///
    /// [`StartError::Schemas`], if a file is no schema; [`StartError::SchemaThreads`].
    pub(super) async fn open(
        settings: Option<SchemaSettings>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let Some(SchemaSettings { path, mode, patience }) = settings else { return Ok(Self::default()) };
        // Reading and compiling blocks.
        let set = tokio::task::spawn_blocking(move || SchemaSet::read(&path)).await;
        let set = set.map_err(|error| StartError::SchemaThreads(error.into()))??;
        let version = set.version();
        tracing::info!(types = set.types().len(), %version, mode = mode_name(mode), "read the schemas of event types");
        let check = mode.map(|mode| SchemaCheck::start(set, mode, patience, Arc::clone(metrics)));
        let check = check.transpose().map_err(StartError::SchemaThreads)?;
        Ok(Self { version: Some(version), check: check.map(Arc::new) })
    }
}

fn mode_name(mode: Option<SchemaMode>) -> &'static str {
    match mode {
        None => "off",
        Some(SchemaMode::Report) => "report",
        Some(SchemaMode::Enforce) => "enforce",
    }
}
