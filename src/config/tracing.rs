//! `[tracing]`: traces in streams, and spans for an OpenTelemetry collector.

use std::path::PathBuf;

use serde::Deserialize;

use tidings_settings::{Seconds, SecretText, seconds};

/// `[tracing]`: traces in streams, and spans for an OpenTelemetry collector.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct TracingConfig {
    pub ratio: f64,
    pub in_streams: bool,
    pub otlp: OtlpConfig,
}

/// `[tracing.otlp]`: the collector.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct OtlpConfig {
    /// Empty: no traces.
    pub endpoint: String,
    /// Empty: none.
    pub headers: SecretText,
    /// `None` when the key is empty.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub headers_file: Option<PathBuf>,
    pub timeout_seconds: Seconds,
}
