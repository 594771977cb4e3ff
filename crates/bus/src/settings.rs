//! The sections `[redis]` and `[retention]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tidings_settings::{RedisUrl, Seconds, seconds};

/// `[redis]`: the Redis server and the links to it.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct RedisConfig {
    pub url: RedisUrl,
    /// `None` if the key is empty: the password is in the URL, or there is none.
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
    pub cluster: ClusterConfig,
}

/// `[redis.tls]`: the files for TLS to Redis and its Sentinels.
#[derive(Debug, Clone, Deserialize)]
pub struct RedisTlsConfig {
    /// The authorities; `None` if the key is empty, for those that the system trusts.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub ca: Option<PathBuf>,
    /// The client certificate; `None` if the key is empty.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub cert: Option<PathBuf>,
    /// The key of the certificate; `None` if the key is empty.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub key: Option<PathBuf>,
}

/// `[redis.sentinel]`: finding the primary after failovers.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct SentinelConfig {
    pub nodes: Vec<RedisUrl>,
    /// `None` if the key is empty: the passwords are in the URLs, or there are none.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub password_file: Option<PathBuf>,
    pub primary: String,
    pub poll_seconds: Seconds,
}

/// `[redis.cluster]`: the nodes of a Redis Cluster.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct ClusterConfig {
    pub nodes: Vec<RedisUrl>,
    pub poll_seconds: Seconds,
}

/// `[retention]`: the retention of the logs to which this node publishes.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct RetentionConfig {
    pub events: usize,
    pub seconds: Seconds,
    pub bytes: usize,
}

impl RedisTlsConfig {
    /// Returns whether any file is configured.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }
}

impl RedisConfig {
    /// Returns whether a Redis is configured: by its URL, its Sentinels or nodes of its cluster.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.url.is_empty() || !self.sentinel.nodes.is_empty() || !self.cluster.nodes.is_empty()
    }

    /// Describes the address of Redis for output, without passwords.
    #[must_use]
    pub fn describe(&self) -> String {
        let list = |nodes: &[RedisUrl]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if !self.cluster.nodes.is_empty() {
            return format!("the cluster of {}", list(&self.cluster.nodes));
        }
        if self.sentinel.nodes.is_empty() {
            return self.url.to_string();
        }
        format!("{} by the Sentinels {}", self.sentinel.primary, list(&self.sentinel.nodes))
    }

    /// Returns the longest time until a lost link without a closed connection is found.
    #[must_use]
    pub fn silence_max(&self) -> Duration {
        self.ping_seconds.duration() + self.ping_timeout_seconds.duration()
    }
}
