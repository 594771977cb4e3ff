//! The section `[embedded]` of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use tidings_settings::{SecretText, seconds};

/// `[embedded]`: the bus that runs in the process when no Redis is configured.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct EmbeddedConfig {
    /// `None` when the key is empty: no listener.
    #[serde(deserialize_with = "seconds::optional_address")]
    pub listen: Option<SocketAddr>,
    /// Empty: none.
    pub password: SecretText,
    pub clients: usize,
    pub output_bytes: usize,
    pub clients_bytes: usize,
    /// `None` when the key is empty: in memory only.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub path: Option<PathBuf>,
    pub sync: LogSync,
    pub log_bytes: usize,
    pub idempotency_bytes: usize,
    pub idempotency_workspace_bytes: usize,
}

/// When the embedded bus syncs events to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum LogSync {
    /// Before they are acknowledged.
    #[serde(rename = "always")]
    Always,
    /// Within a second.
    #[serde(rename = "everysec")]
    EverySecond,
    /// Some time later.
    #[serde(rename = "no")]
    No,
}
