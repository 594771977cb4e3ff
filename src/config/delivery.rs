//! `[delivery]`: the writer of streams.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use serde::Deserialize;

/// The most threads that are taken where their number is not configured. Few write much: it is the
/// kernel that takes the time.
const SHARDS_DEFAULT_MAX: usize = 4;

/// `[delivery]`: the writer of streams.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct DeliveryConfig {
    pub writer: Writer,
    pub shards: usize,
}

/// The writer of streams over HTTP/1.1 without TLS. The HTTP server writes all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Writer {
    /// The delivery engine, to which their sockets are handed over.
    Handoff,
    /// The HTTP server.
    Body,
}

impl DeliveryConfig {
    /// How many threads the engine has: as configured, or one for two cores.
    #[must_use]
    pub fn shards(&self) -> usize {
        if self.shards > 0 {
            return self.shards;
        }
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        (cores / 2).clamp(1, SHARDS_DEFAULT_MAX)
    }
}
