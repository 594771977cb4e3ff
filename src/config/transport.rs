//! `[server.tls]` and `[http2]`: what connections speak.

use std::path::PathBuf;

use serde::Deserialize;

use tidings_settings::{Seconds, seconds};

/// `[server.tls]`: TLS on the public listener.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct TlsConfig {
    /// `None` when the key is empty: no TLS.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub cert: Option<PathBuf>,
    /// `None` when the key is empty.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub key: Option<PathBuf>,
    pub reload_seconds: Seconds,
}

/// `[http2]`: bounds of HTTP/2 connections.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct Http2Config {
    pub streams: u32,
    pub ping_seconds: Seconds,
    pub ping_timeout_seconds: Seconds,
    pub idle_seconds: Seconds,
}

impl TlsConfig {
    /// The files of the certificate and its key, where both are named.
    #[must_use]
    pub fn files(&self) -> Option<(PathBuf, PathBuf)> {
        Some((self.cert.clone()?, self.key.clone()?))
    }
}
