//! `[server.tls]`, `[http2]` and `[redis.tls]`: what connections speak.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Seconds, seconds};

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

/// `[redis.tls]`: the files for TLS towards Redis and its Sentinels.
#[derive(Debug, Clone, Deserialize)]
pub struct RedisTlsConfig {
    /// `None` when the key is empty: the authorities that the system trusts.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub ca: Option<PathBuf>,
    /// `None` when the key is empty: no certificate is shown.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub cert: Option<PathBuf>,
    /// `None` when the key is empty.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub key: Option<PathBuf>,
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

impl RedisTlsConfig {
    /// Whether any file is named.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }
}

impl TlsConfig {
    /// The files of the certificate and its key, where both are named.
    #[must_use]
    pub fn files(&self) -> Option<(PathBuf, PathBuf)> {
        Some((self.cert.clone()?, self.key.clone()?))
    }
}
