//! What of the configuration each part gets.

use std::sync::Arc;

use crate::config::{AuthMode, Config, LiveConfig};
use crate::delivery::StreamSettings;
use crate::delivery::engine::{EngineSettings, LogBounds};
use crate::http::{ConnectionSettings, Hosts, Http2Settings, SocketSettings};
use crate::hub::{HubSettings, LiveEvents};
use crate::limits::StreamLimits;

/// What both listeners have in common.
pub(super) fn connection_settings(config: &Config) -> ConnectionSettings {
    let write_timeout = config.server.write_timeout_seconds.duration();
    ConnectionSettings {
        header_timeout: config.server.header_timeout_seconds.duration(),
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

/// Without a word on who may connect the broker is this machine's alone.
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

/// The bounds of the hub.
pub(super) fn hub_settings(config: &Config) -> HubSettings {
    HubSettings {
        ring_events: config.ring.events,
        ring_bytes: config.ring.bytes,
        ring_bytes_in_all: config.limits.ring_bytes,
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
        in_all: limits.connections,
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
        bounds: LogBounds { frames: config.ring.events, bytes: config.ring.bytes },
    }
}
