//! The sections `[redis]` and `[retention]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tidings_settings::{RedisUrl, Seconds, seconds};

/// `[redis]`: the Redis server and the link to it.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct RedisConfig {
    pub url: RedisUrl,
    /// `None` when the key is empty: the password stands in the address, or there is none.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub password_file: Option<PathBuf>,
    pub channel_prefix: String,
    pub control_channel: String,
    pub connect_timeout_seconds: Seconds,
    pub ping_seconds: Seconds,
    pub ping_timeout_seconds: Seconds,
    pub backoff_min_seconds: Seconds,
    pub backoff_max_seconds: Seconds,
    pub command_timeout_seconds: Seconds,
    pub confirm_seconds: Seconds,
    pub probe_seconds: Seconds,
    pub reply_bytes: usize,
    pub tls: RedisTlsConfig,
    pub sentinel: SentinelConfig,
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

/// `[redis.sentinel]`: following a primary through failovers.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct SentinelConfig {
    pub nodes: Vec<RedisUrl>,
    /// `None` when the key is empty: passwords stand in the addresses, or there are none.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub password_file: Option<PathBuf>,
    pub primary: String,
    pub poll_seconds: Seconds,
}

/// `[retention]`: what logs keep of what this node publishes.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct RetentionConfig {
    pub events: usize,
    pub seconds: Seconds,
    pub bytes: usize,
}

impl RedisTlsConfig {
    /// Whether any file is named.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }
}

impl RedisConfig {
    /// Whether a Redis is configured at all, by its address or by its Sentinels.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.url.is_empty() || !self.sentinel.nodes.is_empty()
    }

    /// Where Redis is, fit to be shown.
    #[must_use]
    pub fn describe(&self) -> String {
        if self.sentinel.nodes.is_empty() {
            return self.url.to_string();
        }
        let nodes: Vec<_> = self.sentinel.nodes.iter().map(ToString::to_string).collect();
        format!("{} by the Sentinels {}", self.sentinel.primary, nodes.join(", "))
    }

    /// The longest time that a link which died silently goes unnoticed.
    #[must_use]
    pub fn silence_max(&self) -> Duration {
        self.ping_seconds.duration() + self.ping_timeout_seconds.duration()
    }
}
