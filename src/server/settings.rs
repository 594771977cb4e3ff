//! The settings of each part, of the configuration. No other part of a server reads it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::Addresses;
use super::access::{AccessSettings, MethodSettings};
use super::bus::BusSettings;
use super::listener::ListenerSettings;
use super::public::PublicSettings;
use super::reach::reach;
use super::schemas::SchemaSettings;
use super::shutdown::DrainSettings;
use super::traces::TraceSettings;
use crate::admin::ApiSettings;
use crate::admin::console::{AdminToken, AdminTokenError, ConsoleSettings};
use crate::config::{AuthMethod, AuthMode, Config, ForwardedHeader, LiveConfig, SchemasMode, Writer};
use crate::files;
use crate::files::{FileBudget, TooFewFiles};
use crate::http::{
    ConnectionGateSettings, ConnectionLimits, ConnectionSettings, Hosts, Http2Settings, Origins, PairFiles,
    ProxyHeader, SocketSettings, TrustedProxies,
};
use crate::log_reader::LogReaderSettings;
use crate::memory::MemoryBudget;
use crate::warnings;
use tidings_auth::ForwardConfig;
use tidings_delivery::engine::{BroadcastBounds, EngineSettings};
use tidings_delivery::{Drain, StreamSettings, WallClock};
use tidings_embedded::ChannelNames;
use tidings_embedded::settings::EmbeddedConfig;
use tidings_event::SchemaVersion;
use tidings_hub::{HubSettings, LiveEvents};
use tidings_limits::StreamLimits;
use tidings_metrics::Metrics;
use tidings_schemas::SchemaMode;
use tidings_settings::ListenAddress;

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

/// The configured bounds on memory. Says so where they are more than there is.
pub(super) fn memory(config: &Config) -> MemoryBudget {
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
    budget
}

/// The configured bus, with as many clients as there are files for.
pub(super) fn bus<'a>(config: &'a Config, files: &FileBudget) -> BusSettings<'a> {
    let Config { redis, retention, embedded, limits, .. } = config;
    if redis.is_configured() {
        return BusSettings::Redis { redis, retention };
    }
    let names = ChannelNames { prefix: &redis.channel_prefix, control: &redis.control_channel };
    let config = EmbeddedConfig { clients: files.embedded_clients, ..embedded.clone() };
    BusSettings::Embedded { config, retention, names, event_bytes: limits.event_bytes }
}

/// The bounds of the hub.
pub(super) fn hub(config: &Config) -> HubSettings {
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
        retention: config.retention.seconds.duration(),
        traces_in_streams: config.tracing.in_streams,
    }
}

/// The reads of logs for the hub.
pub(super) fn log_reader(config: &Config) -> LogReaderSettings {
    LogReaderSettings {
        concurrent: config.replay.concurrent,
        page_events: config.replay.page_events,
        patience: config.redis.command_timeout_seconds.duration(),
    }
}

/// The schemas of event types, if there are some.
pub(super) fn schemas(config: &Config) -> Option<SchemaSettings> {
    Some(SchemaSettings {
        path: config.schemas.path.clone()?,
        mode: match config.schemas.mode {
            SchemasMode::Off => None,
            SchemasMode::Report => Some(SchemaMode::Report),
            SchemasMode::Enforce => Some(SchemaMode::Enforce),
        },
        patience: config.server.body_timeout_seconds.duration(),
    })
}

/// The traces of a node, if there is a collector.
pub(super) fn traces(config: &Config) -> Option<TraceSettings> {
    let otlp = &config.tracing.otlp;
    (!otlp.endpoint.is_empty()).then(|| TraceSettings {
        endpoint: otlp.endpoint.clone(),
        headers: otlp.headers.clone(),
        headers_file: otlp.headers_file.clone(),
        timeout: otlp.timeout_seconds.duration(),
        ratio: config.tracing.ratio,
    })
}

/// What all streams share.
pub(super) fn streams(
    config: &Config,
    schemas: Option<SchemaVersion>,
    metrics: &Arc<Metrics>,
) -> StreamSettings {
    StreamSettings {
        heartbeat: config.sse.heartbeat_seconds.duration(),
        retry: Duration::from_millis(config.sse.retry_ms),
        confirm: config.redis.confirm_seconds.duration(),
        age: Some(config.limits.connection_age_seconds.duration()).filter(|age| !age.is_zero()),
        drain: Drain::default(),
        clock: WallClock::default(),
        schemas,
        metrics: Arc::clone(metrics),
        bodies: Arc::default(),
    }
}

/// The number of shards of the engine, and their bounds; `None` if the HTTP server writes all
/// streams.
pub(super) fn engine(config: &Config, streams: Arc<StreamSettings>) -> Option<(usize, EngineSettings)> {
    match config.delivery.writer {
        Writer::Body => None,
        Writer::Handoff => {
            let settings = EngineSettings {
                streams,
                write_timeout: config.server.write_timeout_seconds.duration(),
                bounds: BroadcastBounds { frames: config.ring.events, bytes: config.ring.bytes },
                unsent_bytes: config.limits.unsent_bytes,
            };
            Some((config.delivery.shards(), settings))
        }
    }
}

/// The methods of authentication, and the bounds on open streams.
pub(super) fn access(config: &Config) -> AccessSettings<'_> {
    let AuthMode::Methods(methods) = &config.auth.mode else { return access_by(config, Vec::new()) };
    let may_be_short = config.is_for_this_machine();
    let recheck = Some(config.auth.recheck_seconds.duration()).filter(|interval| !interval.is_zero());
    let method = |method: &AuthMethod| match method {
        AuthMethod::Jwt => MethodSettings::Jwt { jwt: &config.auth.jwt, may_be_short },
        AuthMethod::Forward => {
            let forward = &config.auth.forward;
            MethodSettings::Forward { forward, recheck, requests_per_address: requests_per_address(forward) }
        }
    };
    access_by(config, methods.iter().map(method).collect())
}

fn access_by<'a>(config: &'a Config, methods: Vec<MethodSettings<'a>>) -> AccessSettings<'a> {
    AccessSettings {
        methods,
        ticket_lifetime: config.auth.ticket_seconds.duration(),
        tickets_per_user: NonZeroU32::new(config.auth.tickets_per_user),
        streams: stream_limits(config),
    }
}

/// Questions to the app of one client address at a time: a quarter of all that may be asked and
/// wait.
fn requests_per_address(config: &ForwardConfig) -> Option<NonZeroU32> {
    let share = config.concurrent.saturating_add(config.queue).div_ceil(4);
    u32::try_from(share).ok().and_then(NonZeroU32::new)
}

/// The origins whose pages may read and publish, and the headers that these may set.
pub(super) fn origins(config: &Config) -> Origins {
    Origins::new(&config.cors.origins)
        .with_headers(&config.cors.headers)
        .with_headers(&config.auth.forward.headers)
}

/// Connections of an address at a time, and new ones in a second; `None`: any number.
pub(super) fn connection_limits(config: &Config) -> (Option<NonZeroU32>, Option<NonZeroU32>) {
    let limits = &config.limits;
    (NonZeroU32::new(limits.connections_per_address), NonZeroU32::new(limits.connects_per_second))
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

/// The public listener and its handlers. Without an explicit `auth.mode` only this machine may
/// connect.
pub(super) fn public<'a>(config: &'a Config, files: &FileBudget) -> PublicSettings<'a> {
    let hosts = match config.auth.mode {
        AuthMode::Unset => Hosts::Local,
        AuthMode::None | AuthMode::Methods(_) => Hosts::Any,
    };
    let (per_address, per_second) = connection_limits(config);
    let connection_gate = ConnectionGateSettings {
        connections: files.connections,
        overflow: files.surplus,
        limits: Arc::new(ConnectionLimits::new(per_address, per_second)),
        oldest_gives_way: false,
    };
    let certificate = config.server.tls.files().map(|(certificate, key)| {
        (PairFiles { certificate, key }, config.server.tls.reload_seconds.duration())
    });
    PublicSettings {
        listener: ListenerSettings {
            key: "server.listen",
            address: config.server.listen.clone(),
            socket: socket(config),
            connection: connection(config, config.server.proxy_protocol),
            connection_gate,
            hosts,
            proxies: trusted_proxies(config),
            header_bytes: config.server.header_bytes,
        },
        certificate,
        base_path: &config.server.base_path,
        origins: origins(config),
        named: config.sse.named,
        newest_max: config.replay.newest_max,
        position_reads: (config.replay.concurrent, config.redis.command_timeout_seconds.duration()),
        event_bytes: config.limits.event_bytes,
        batch_bytes: config.limits.batch_bytes,
        body_bytes: config.limits.body_bytes,
        body_timeout: config.server.body_timeout_seconds.duration(),
        rates: config.limits.rates(),
    }
}

/// The admin listener. Idle connections keep no probe out, and one on a loopback address is this
/// machine's alone.
pub(super) fn admin(config: &Config, files: &FileBudget) -> ListenerSettings {
    let is_local = config.admin.listen.is_local();
    let connection_gate = ConnectionGateSettings {
        connections: files.admin,
        overflow: 0,
        limits: Arc::new(ConnectionLimits::new(None, None)),
        oldest_gives_way: true,
    };
    ListenerSettings {
        key: "admin.listen",
        address: config.admin.listen.clone(),
        socket: socket(config),
        connection: connection(config, config.admin.proxy_protocol),
        connection_gate,
        hosts: if is_local { Hosts::LocalAnd(config.admin.hosts.clone().into()) } else { Hosts::Any },
        proxies: trusted_proxies(config),
        header_bytes: config.server.header_bytes,
    }
}

/// The token of the console. Reads a file, and so blocks.
pub(super) fn admin_token(config: &Config) -> Result<AdminToken, AdminTokenError> {
    AdminToken::open(&config.admin.token, config.admin.token_file.as_deref())
}

/// The console. It knows the address of its listener, besides loopback names and `admin.hosts`.
pub(super) fn console(
    config: &Config,
    addresses: &Addresses,
    files: FileBudget,
    memory: &MemoryBudget,
) -> ConsoleSettings {
    let (own, port) = match addresses.admin() {
        ListenAddress::Socket(address) => {
            let ip = address.ip().to_canonical();
            (Some(ip.to_string()).filter(|_| !ip.is_unspecified()), address.port())
        }
        ListenAddress::Host { name, port } => (Some(name.clone()), *port),
        ListenAddress::Unix(_) => (None, 0),
    };
    let brackets = |host: &String| host.trim_matches(['[', ']']).to_owned();
    ConsoleSettings {
        hosts: Hosts::LocalAnd(config.admin.hosts.iter().map(brackets).chain(own).collect()),
        payloads: config.admin.payloads,
        port,
        event_bytes: config.limits.event_bytes,
        page_events: config.replay.page_events,
        patience: config.redis.command_timeout_seconds.duration(),
        reach: reach(config, addresses),
        findings: vec![warnings::open_files(&Ok(files)), warnings::memory(memory)],
        memory: (memory.configured, memory.available),
        refusals: crate::http::refusal_reasons(),
        forward: config.auth.mode.uses(AuthMethod::Forward),
    }
}

/// The interval at which the bus is probed.
pub(super) fn probe(config: &Config) -> Duration {
    config.redis.probe_seconds.duration()
}

/// The times of a drain.
pub(super) fn drain(config: &Config) -> DrainSettings {
    DrainSettings {
        delay: config.server.drain_delay_seconds.duration(),
        window: config.server.drain_seconds.duration(),
    }
}

/// The connections of a listener, without TLS.
fn connection(config: &Config, proxy_protocol: bool) -> ConnectionSettings {
    let write_timeout = config.server.write_timeout_seconds.duration();
    ConnectionSettings {
        header_timeout: config.server.header_timeout_seconds.duration(),
        idle_timeout: config.server.idle_timeout_seconds.duration(),
        write_timeout,
        proxy_protocol,
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

/// The options of the sockets of both listeners.
fn socket(config: &Config) -> SocketSettings {
    SocketSettings {
        keepalive: config.server.keepalive_seconds.duration(),
        user_timeout: config.server.write_timeout_seconds.duration(),
        send_buffer: config.server.send_buffer_bytes,
        unix_mode: config.server.unix_socket_mode.bits(),
    }
}

/// The proxies that may name their clients, and the header in which they do.
fn trusted_proxies(config: &Config) -> TrustedProxies {
    let header = match config.server.forwarded_header {
        ForwardedHeader::XForwardedFor => ProxyHeader::XForwardedFor,
        ForwardedHeader::Forwarded => ProxyHeader::Forwarded,
    };
    TrustedProxies::new(config.server.trusted_proxies.clone(), header)
}

/// The settings that `/openapi.json` shows, with the addresses at which the server listens.
pub(super) fn api(config: &Config, addresses: &Addresses) -> ApiSettings {
    let scheme = if config.server.tls.files().is_some() { "https" } else { "http" };
    ApiSettings {
        origin: format!("{scheme}://{}", addresses.public().authority()),
        base_path: config.server.base_path.clone(),
        admin_origin: format!("http://{}", addresses.admin().authority()),
        bounds: vec![
            ("limits.event_bytes", config.limits.event_bytes),
            ("limits.batch_bytes", config.limits.batch_bytes),
            ("replay.newest_max", config.replay.newest_max),
        ],
    }
}
