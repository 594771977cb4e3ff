//! `[schemas]`: the schemas of event types.

use std::path::PathBuf;

use serde::Deserialize;

use tidings_settings::seconds;

/// `[schemas]`: the schemas of event types.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct SchemasConfig {
    /// `None` when the key is empty: no schemas.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub path: Option<PathBuf>,
    pub mode: SchemasMode,
}

/// What happens to an event that does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemasMode {
    /// No event is checked.
    Off,
    /// It is counted and logged.
    Report,
    /// It is refused where that is possible.
    Enforce,
}
