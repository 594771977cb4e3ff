//! The configuration: one struct a section of `config/default.toml`, where each key is explained. A
//! section that only one crate reads is a struct of that crate.
//!
//! [`Sources::load`] lays the file, the environment and the flags over the defaults. It returns
//! [`Loaded`]: the checked [`Config`], and the source of each value for `tidings config`. Or it
//! returns a [`ConfigError`] with every problem. [`mod@reference`] reads the keys themselves out of
//! `config/default.toml`.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use tidings_auth::{ForwardConfig, JwtConfig};
use tidings_bus::settings::{RedisConfig, RetentionConfig};
use tidings_embedded::settings::EmbeddedConfig;
use tidings_hub::rate::Rates;
use tidings_settings::{ListenAddress, Seconds, SecretText, SocketMode, seconds};

mod auth_mode;
mod delivery;
mod error;
mod file;
mod forward;
mod key;
mod layers;
mod load;
mod proxies;
pub mod reference;
mod reload;
mod rules;
mod schemas;
mod secret;
pub mod settings_file;
mod show;
mod source;
#[cfg(test)]
mod tests;
mod tracing;
mod transport;
mod validate;
mod workspaces;

pub use auth_mode::{AuthMethod, AuthMode};
pub use delivery::{DeliveryConfig, Writer};
pub use error::{ConfigError, ConfigProblem, FilePosition, Found};
pub use load::{EffectiveValue, Loaded};
pub use proxies::ForwardedHeader;
pub use reload::ConfigChanges;
pub use schemas::{SchemasConfig, SchemasMode};
pub use source::{Source, Sources};
pub use tracing::{OtlpConfig, TracingConfig};
pub use transport::{Http2Config, TlsConfig};
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
    pub schemas: SchemasConfig,
    pub tracing: TracingConfig,
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
    pub listen: ListenAddress,
    pub unix_socket_mode: SocketMode,
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
    pub listen: ListenAddress,
    pub proxy_protocol: bool,
    /// Empty: none.
    pub token: SecretText,
    /// `None` when the key is empty.
    #[serde(deserialize_with = "seconds::optional_path")]
    pub token_file: Option<PathBuf>,
    pub hosts: Vec<String>,
    pub url: String,
    pub payloads: bool,
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

/// `[replay]`: reading logs for clients that resume.
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
    pub unsent_bytes: usize,
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

/// `[auth]`: the right to connect and publish.
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

/// The bytes of a log entry besides its payload.
const ENTRY_HEAD_BYTES: usize = 1024;

impl Config {
    /// Returns whether clients are on this machine, as far as the configuration shows. A proxy
    /// serves others, and so does the program behind a socket in the file system.
    pub(crate) fn is_for_this_machine(&self) -> bool {
        let listen = &self.server.listen;
        listen.is_local()
            && !matches!(listen, ListenAddress::Unix(_))
            && self.server.trusted_proxies.is_empty()
    }

    /// Raises `redis.reply_bytes` to the largest page of a log: a smaller bound makes the log
    /// unreadable. A page has at most the events of a read, and `retention.bytes` and one event.
    pub(crate) fn fit_reply_bytes(&mut self) {
        let largest = self.limits.event_bytes.saturating_add(ENTRY_HEAD_BYTES);
        let events = self.replay.page_events.max(self.replay.newest_max).saturating_add(1);
        let page = events.saturating_mul(largest).min(self.retention.bytes.saturating_add(largest));
        self.redis.reply_bytes = self.redis.reply_bytes.max(page);
    }
}
