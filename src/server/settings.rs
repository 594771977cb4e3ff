//! What of the configuration each part gets.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::config::{AuthMode, Config, ForwardedHeader, LiveConfig};
use crate::files;
use crate::files::{FileBudget, TooFewFiles};
use crate::http::{
    ConnectionGateSettings, ConnectionSettings, Hosts, Http2Settings, ProxyHeader, SocketSettings,
    TrustedProxies,
};
use crate::memory::MemoryBudget;
use tidings_auth::ForwardConfig;
use tidings_delivery::StreamSettings;
use tidings_delivery::engine::{BroadcastBounds, EngineSettings};
use tidings_hub::{HubSettings, LiveEvents};
use tidings_limits::StreamLimits;

/// What the limit of open files leaves of the configured bounds, once it is raised as far as it may
/// be.
pub(super) fn files(config: &Config) -> Result<FileBudget, TooFewFiles> {
    let budget = FileBudget::new(config, files::raise_limit())?;
    if budget.is_cut() {
        tracing::warn!(
            files = budget.limit,
            files_wanted = budget.wanted,
            connections = budget.connections,
            embedded_clients = budget.embedded_clients,
            "fewer connections than configured: raise the limit of open files, or lower limits.connections"
        );
    }
    Ok(budget)
}

/// Says so where the configured bounds on memory together are more than there is.
pub(super) fn warn_of_memory(config: &Config) {
    let budget = MemoryBudget::new(config);
    if budget.is_exceeded() {
        let (configured_mib, available_mib) = budget.mebibytes();
        tracing::warn!(
            configured_mib,
            available_mib,
            "the configured bounds on memory together are more than this process may have: lower limits.ring_bytes and the other bounds \
             (docs/operations.md, Limits of the machine)"
        );
    }
}

/// The bounds of connections to the public listener.
pub(super) fn public_admission(config: &Config, files: &FileBudget) -> ConnectionGateSettings {
    ConnectionGateSettings {
        connections: files.connections,
        overflow: files.surplus,
        per_address: NonZeroU32::new(config.limits.connections_per_address),
        per_second: NonZeroU32::new(config.limits.connects_per_second),
        oldest_gives_way: false,
    }
}

/// The bounds of connections to the admin listener: idle connections keep no probe out.
pub(super) fn admin_admission(files: &FileBudget) -> ConnectionGateSettings {
    ConnectionGateSettings {
        connections: files.admin,
        overflow: 0,
        per_address: None,
        per_second: None,
        oldest_gives_way: true,
    }
}

/// Questions to the app of one client address at a time: a quarter of all that may be asked and
/// wait.
pub(super) fn requests_per_address(config: &ForwardConfig) -> Option<NonZeroU32> {
    let share = config.concurrent.saturating_add(config.queue).div_ceil(4);
    u32::try_from(share).ok().and_then(NonZeroU32::new)
}

/// What both listeners have in common.
pub(super) fn connection_settings(config: &Config) -> ConnectionSettings {
    let write_timeout = config.server.write_timeout_seconds.duration();
    ConnectionSettings {
        header_timeout: config.server.header_timeout_seconds.duration(),
        idle_timeout: config.server.idle_timeout_seconds.duration(),
        write_timeout,
        proxy_protocol: false,
        tls: None,
        http2: Http2Settings {
            streams: config.http2.streams,
            ping: config.http2.ping_seconds.duration(),
            ping_timeout: config.http2.ping_timeout_seconds.duration(),
            idle: config.http2.idle_seconds.duration(),
            // Streams on which nothing waits say so only with their next heartbeat.
            stall: write_timeout + config.sse.heartbeat_seconds.duration(),
        },
    }
}

/// Without an explicit `auth.mode` only this machine may connect.
pub(super) fn public_hosts(config: &Config) -> Hosts {
    match config.auth.mode {
        AuthMode::Unset => Hosts::Local,
        AuthMode::None | AuthMode::Methods(_) => Hosts::Any,
    }
}

/// An operations listener on a loopback address is this machine's alone too.
pub(super) fn admin_hosts(config: &Config) -> Hosts {
    if config.admin.listen.ip().to_canonical().is_loopback() { Hosts::Local } else { Hosts::Any }
}

/// The proxies that may name their clients, and the header in which they do.
pub(super) fn trusted_proxies(config: &Config) -> TrustedProxies {
    let header = match config.server.forwarded_header {
        ForwardedHeader::XForwardedFor => ProxyHeader::XForwardedFor,
        ForwardedHeader::Forwarded => ProxyHeader::Forwarded,
    };
    TrustedProxies::new(config.server.trusted_proxies.clone(), header)
}

/// The bounds of the hub.
pub(super) fn hub_settings(config: &Config) -> HubSettings {
    HubSettings {
        ring_events: config.ring.events,
        ring_bytes: config.ring.bytes,
        ring_bytes_in_all: config.limits.ring_bytes,
        replay_bytes: config.limits.replay_bytes,
        rates: config.limits.rates(),
        event_bytes: config.limits.event_bytes,
        linger: config.ring.linger_seconds.duration(),
        workspaces: config.limits.workspaces,
        live: match config.workspaces.live {
            LiveConfig::Auto => LiveEvents::Auto,
            LiveConfig::Never => LiveEvents::Never,
            LiveConfig::Always => LiveEvents::Always,
        },
    }
}

/// The bounds on open streams.
pub(super) fn stream_limits(config: &Config) -> StreamLimits {
    let limits = &config.limits;
    StreamLimits {
        per_node: limits.connections,
        per_workspace: limits.connections_per_workspace,
        per_user: limits.connections_per_user,
    }
}

/// The options of the sockets of both listeners.
pub(super) fn socket_settings(config: &Config) -> SocketSettings {
    SocketSettings {
        keepalive: config.server.keepalive_seconds.duration(),
        user_timeout: config.server.write_timeout_seconds.duration(),
        send_buffer: config.server.send_buffer_bytes,
    }
}

/// The bounds of the delivery engine.
pub(super) fn engine_settings(config: &Config, streams: Arc<StreamSettings>) -> EngineSettings {
    EngineSettings {
        streams,
        write_timeout: config.server.write_timeout_seconds.duration(),
        bounds: BroadcastBounds { frames: config.ring.events, bytes: config.ring.bytes },
        unsent_bytes: config.limits.unsent_bytes,
    }
}
