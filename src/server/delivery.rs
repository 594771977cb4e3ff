//! Builds what writes streams: their settings, and the engine.

use std::sync::Arc;

use super::start_error::StartError;
use tidings_delivery::StreamSettings;
use tidings_delivery::engine::{Engine, EngineSettings, Shard};

/// The writers of streams.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The settings that all streams share.
    pub(super) streams: Arc<StreamSettings>,
    /// The engine; `None` if the HTTP server writes all streams.
    pub(super) engine: Option<Arc<Engine>>,
    /// The shards of the engine; each runs on a thread of its own.
    pub(super) shards: Vec<Shard>,
}

impl Delivery {
    /// Creates the engine, with as many shards as `engine` says, unless it is `None`.
    ///
    /// # Errors
    ///
    /// [`StartError::Engine`], if the system has no polls left.
    pub(super) fn new(
        streams: Arc<StreamSettings>,
        engine: Option<(usize, EngineSettings)>,
    ) -> Result<Self, StartError> {
        let Some((shards, settings)) = engine else {
            return Ok(Self { streams, engine: None, shards: Vec::new() });
        };
        let (engine, shards) = Engine::new(shards, &settings).map_err(StartError::Engine)?;
        Ok(Self { streams, engine: Some(Arc::new(engine)), shards })
    }
}

/// Ends the shards of an engine, also where its owner is dropped: the runtime waits for their
/// threads.
#[derive(Debug)]
pub(super) struct StopOnDrop(pub(super) Option<Arc<Engine>>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(engine) = &self.0 {
            engine.stop();
        }
    }
}
