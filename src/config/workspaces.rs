//! `[workspaces]`: what workspaces carry.

use serde::Deserialize;

/// `[workspaces]`: what workspaces carry.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct WorkspacesConfig {
    pub live: LiveConfig,
}

/// Whether workspaces carry live events, which are in no log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LiveConfig {
    /// Those that have shown some do.
    Auto,
    /// None does.
    Never,
    /// All do.
    Always,
}
