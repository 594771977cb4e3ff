//! The configuration: one struct a section of `config/default.toml`, where each key is explained.
//!
//! [`Sources::load`] lays the file, the environment and the flags over the defaults and gives [`Loaded`]: the checked
//! [`Config`] and, for `tidings config`, where each value comes from. Or it gives a [`ConfigError`] with everything that
//! is wrong. The keys themselves are read out of `config/default.toml` by [`mod@reference`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::rate::Rates;

mod algorithms;
mod auth_mode;
mod delivery;
mod error;
mod file;
mod forward;
pub mod jwt;
mod key;
mod layers;
mod load;
mod proxies;
pub mod reference;
mod rules;
mod seconds;
mod secret;
mod secret_text;
mod show;
mod source;
#[cfg(test)]
mod tests;
mod texts;
mod transport;
mod validate;
mod workspaces;

pub use algorithms::Algorithms;
pub use auth_mode::{AuthMethod, AuthMode};
pub use delivery::{DeliveryConfig, Writer};
pub use error::{ConfigError, Found, Position, Problem};
pub use forward::{ForwardConfig, ForwardUrl};
pub use jwt::JwtConfig;
pub use load::{EffectiveValue, Loaded};
pub use proxies::ForwardedHeader;
pub use seconds::Seconds;
pub use secret::{MASK, RedisUrl};
pub use secret_text::SecretText;
pub use source::{Source, Sources};
pub use texts::Texts;
pub use transport::{Http2Config, RedisTlsConfig, TlsConfig};
pub use workspaces::{LiveConfig, WorkspacesConfig};

/// The whole configuration, checked.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each section is explained in config/default.toml")]
pub struct Config {
    pub server: ServerConfig,
    pub http2: Http2Config,
    pub admin: AdminConfig,
    pub redis: RedisConfig,
    pub embedded: EmbeddedConfig,
    pub sse: SseConfig,
    pub delivery: DeliveryConfig,
    pub ring: RingConfig,
    pub workspaces: WorkspacesConfig,
    pub retention: RetentionConfig,
    pub replay: ReplayConfig,
    pub limits: LimitsConfig,
    pub auth: AuthConfig,
    pub cors: CorsConfig,
    pub log: LogConfig,
}

/// `[server]`: the public listener.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct ServerConfig {
    #[serde(deserialize_with = "seconds::address")]
    pub listen: SocketAddr,
    pub base_path: String,
    pub drain_delay_seconds: Seconds,
    pub drain_seconds: Seconds,
    pub header_timeout_seconds: Seconds,
    pub idle_timeout_seconds: Seconds,
    pub header_bytes: usize,
    pub body_timeout_seconds: Seconds,
    pub write_timeout_seconds: Seconds,
    pub keepalive_seconds: Seconds,
    pub send_buffer_bytes: usize,
    #[serde(deserialize_with = "proxies::networks")]
    pub trusted_proxies: Vec<IpNet>,
    pub forwarded_header: ForwardedHeader,
    pub proxy_protocol: bool,
    pub tls: TlsConfig,
}

/// `[admin]`: the operations listener.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct AdminConfig {
    #[serde(deserialize_with = "seconds::address")]
    pub listen: SocketAddr,
    pub proxy_protocol: bool,
}

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
    pub tls: RedisTlsConfig,
    pub sentinel: SentinelConfig,
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

/// When the embedded bus has events on the disk.
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

/// `[sse]`: what every stream gets.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct SseConfig {
    pub heartbeat_seconds: Seconds,
    pub retry_ms: u64,
    pub named: bool,
}

/// `[ring]`: recent events in memory.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct RingConfig {
    pub events: usize,
    pub bytes: usize,
    pub linger_seconds: Seconds,
}

/// `[retention]`: what logs keep of what this node publishes.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct RetentionConfig {
    pub events: usize,
    pub seconds: Seconds,
    pub bytes: usize,
}

/// `[replay]`: reading logs for clients that come back.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct ReplayConfig {
    pub concurrent: usize,
    pub page_events: usize,
    pub newest_max: usize,
}

/// `[limits]`: bounds on what clients and publishers may use.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct LimitsConfig {
    pub event_bytes: usize,
    pub batch_bytes: usize,
    pub body_bytes: usize,
    pub connections: usize,
    pub connections_per_address: u32,
    pub connects_per_second: u32,
    pub workspaces: usize,
    pub connections_per_workspace: usize,
    pub connections_per_user: usize,
    pub connection_age_seconds: Seconds,
    pub ring_bytes: usize,
    pub replay_bytes: usize,
    pub events_per_second: usize,
    pub event_bytes_per_second: usize,
}

impl LimitsConfig {
    /// How fast a workspace may be published to.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates::new(self.events_per_second, self.event_bytes_per_second)
    }
}

/// `[auth]`: who may connect and publish.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct AuthConfig {
    pub mode: AuthMode,
    pub ticket_seconds: Seconds,
    pub tickets_per_user: u32,
    pub recheck_seconds: Seconds,
    pub forward: ForwardConfig,
    pub jwt: JwtConfig,
}

/// `[cors]`: which pages on other hosts may read and publish.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct CorsConfig {
    pub origins: Vec<String>,
    pub headers: Vec<String>,
}

/// `[log]`: what is written to standard error.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct LogConfig {
    pub format: LogFormat,
    pub level: String,
    pub lines_per_second: u32,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
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
