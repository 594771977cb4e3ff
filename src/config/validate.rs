//! Checks of values whose types are right: what each key takes, and which values do not go
//! together.

use std::time::Duration;

use redis::IntoConnectionInfo as _;

use super::error::ConfigProblem;
use super::load::EffectiveValue;
use super::rules;
use super::source::Source;
use super::{AuthMode, Config, OtlpConfig, SchemasConfig, SchemasMode};
use tidings_limits::bodies::LARGEST_BODIES_MIN;
use tidings_settings::{ListenAddress, Seconds};

mod credentials;
mod jwt;

/// The bytes that an event needs in a ring and in a buffer besides its payload: the head of its
/// frame, generously.
const FRAME_HEAD_BYTES: usize = 1024;

/// The most connections that make sense to ask for, well above the file descriptors of a machine.
const CONNECTIONS_MAX: usize = 10_000_000;

/// The shortest password, in characters, where others can try. The listener does not slow down
/// guessing, so the password has to.
const PASSWORD_CHARACTERS_MIN: usize = 16;

/// Linux keeps the idle time of TCP keepalive in whole seconds and has this maximum (`tcp(7)`). A
/// third of it is the interval, which must be at least one second.
const KEEPALIVE_SECONDS: std::ops::RangeInclusive<u64> = 3..=32_767;

/// All problems of a configuration with these values.
pub(super) fn problems(config: &Config, values: &[EffectiveValue]) -> Vec<ConfigProblem> {
    let mut checks = Checks { values, problems: Vec::new() };
    server(&mut checks, config);
    transport(&mut checks, config);
    redis(&mut checks, config);
    streams(&mut checks, config);
    schemas(&mut checks, config);
    traces(&mut checks, config);
    sizes(&mut checks, config);
    listeners(&mut checks, config);
    console(&mut checks, config);
    access(&mut checks, config);
    super::forward::check(&mut checks, config);
    jwt::problems(&mut checks, config);
    checks.problems
}

fn server(checks: &mut Checks<'_>, config: &Config) {
    let server = &config.server;
    checks.value("server.base_path", rules::is_base_path(&server.base_path), BASE_PATH);
    checks.positive("server.header_timeout_seconds", server.header_timeout_seconds);
    checks.value(
        "server.header_bytes",
        (1024..=60_000).contains(&server.header_bytes),
        "1024 to 60000 bytes",
    );
    checks.positive("server.idle_timeout_seconds", server.idle_timeout_seconds);
    checks.positive("server.body_timeout_seconds", server.body_timeout_seconds);
    checks.positive("server.write_timeout_seconds", server.write_timeout_seconds);
    let keepalive = server.keepalive_seconds.duration().as_secs();
    checks.value(
        "server.keepalive_seconds",
        KEEPALIVE_SECONDS.contains(&keepalive),
        "seconds from 3 to 32767",
    );
    let send_buffer = (1024..=64 * MIB).contains(&server.send_buffer_bytes);
    checks.value("server.send_buffer_bytes", send_buffer, "1024 to 67108864 bytes");
    checks.value("log.level", rules::is_log_level(&config.log.level), LOG_LEVEL);
}

fn transport(checks: &mut Checks<'_>, config: &Config) {
    let (tls, http2) = (&config.server.tls, &config.http2);
    checks.pair(
        ["server.tls.cert", "server.tls.key"],
        tls.cert.is_some() == tls.key.is_some(),
        "server.tls.cert and server.tls.key go together: set both, or none",
    );
    checks.positive("server.tls.reload_seconds", tls.reload_seconds);
    checks.value("http2.streams", (1..=10_000).contains(&http2.streams), "1 to 10000 streams");
    checks.positive("http2.ping_seconds", http2.ping_seconds);
    checks.positive("http2.ping_timeout_seconds", http2.ping_timeout_seconds);
    checks.positive("http2.idle_seconds", http2.idle_seconds);
}

fn redis(checks: &mut Checks<'_>, config: &Config) {
    let redis = &config.redis;
    // The crate's own message may repeat parts of the address.
    let url = redis.url.is_empty() || redis.url.reveal().into_connection_info().is_ok();
    checks.value("redis.url", url, REDIS_URL);
    let is_address = |url: &tidings_settings::RedisUrl| url.reveal().into_connection_info().is_ok();
    let is_node = |url: &tidings_settings::RedisUrl| {
        let info = url.reveal().into_connection_info();
        info.is_ok_and(|info| !matches!(info.addr(), redis::ConnectionAddr::Unix(_)))
    };
    checks.value("redis.sentinel.nodes", redis.sentinel.nodes.iter().all(is_address), REDIS_URL);
    checks.value("redis.cluster.nodes", redis.cluster.nodes.iter().all(is_node), CLUSTER_NODE);
    checks.positive("redis.cluster.poll_seconds", redis.cluster.poll_seconds);
    for other in ["redis.url", "redis.sentinel.nodes"] {
        let is_set =
            if other == "redis.url" { !redis.url.is_empty() } else { !redis.sentinel.nodes.is_empty() };
        checks.pair(
            ["redis.cluster.nodes", other],
            redis.cluster.nodes.is_empty() || !is_set,
            "redis.cluster.nodes is for a cluster, and excludes redis.url and redis.sentinel.nodes",
        );
    }
    checks.positive("redis.sentinel.poll_seconds", redis.sentinel.poll_seconds);
    checks.value("redis.channel_prefix", rules::is_channel_prefix(&redis.channel_prefix), CHANNEL_PREFIX);
    let control = &redis.control_channel;
    let of_workspace = control
        .strip_prefix(&redis.channel_prefix)
        .is_some_and(|id| tidings_event::workspace::WorkspaceId::parse(id).is_ok());
    checks.value("redis.control_channel", rules::is_channel_prefix(control), CHANNEL_PREFIX);
    checks.pair(
        ["redis.control_channel", "redis.channel_prefix"],
        !of_workspace,
        "redis.control_channel must not be the channel of a workspace, or its publishers could disconnect clients",
    );
    credentials::problems(checks, redis);
    checks.positive("redis.connect_timeout_seconds", redis.connect_timeout_seconds);
    checks.positive("redis.ping_seconds", redis.ping_seconds);
    checks.positive("redis.ping_timeout_seconds", redis.ping_timeout_seconds);
    checks.positive("redis.backoff_min_seconds", redis.backoff_min_seconds);
    checks.pair(
        ["redis.backoff_max_seconds", "redis.backoff_min_seconds"],
        redis.backoff_max_seconds >= redis.backoff_min_seconds,
        "redis.backoff_max_seconds must not be less than redis.backoff_min_seconds",
    );
    checks.positive("redis.command_timeout_seconds", redis.command_timeout_seconds);
    checks.positive("redis.confirm_seconds", redis.confirm_seconds);
    checks.positive("redis.probe_seconds", redis.probe_seconds);
}

fn schemas(checks: &mut Checks<'_>, config: &Config) {
    let SchemasConfig { path, mode } = &config.schemas;
    checks.pair(
        ["schemas.mode", "schemas.path"],
        path.is_some() || *mode != SchemasMode::Enforce,
        "without schemas every event would be refused: name the directory of schemas in schemas.path",
    );
}

fn traces(checks: &mut Checks<'_>, config: &Config) {
    let OtlpConfig { endpoint, headers, headers_file, timeout_seconds } = &config.tracing.otlp;
    checks.value("tracing.ratio", (0.0..=1.0).contains(&config.tracing.ratio), "0 to 1");
    checks.value("tracing.otlp.endpoint", endpoint.is_empty() || rules::is_endpoint(endpoint), ENDPOINT);
    let are_headers = tidings_traces::parse_headers(headers.reveal()).is_ok();
    checks.value("tracing.otlp.headers", are_headers, "headers such as authorization=Bearer TOKEN,x-scope=7");
    checks.pair(
        ["tracing.otlp.headers", "tracing.otlp.headers_file"],
        headers.is_empty() || headers_file.is_none(),
        "the headers come from one place: set tracing.otlp.headers or tracing.otlp.headers_file",
    );
    checks.positive("tracing.otlp.timeout_seconds", *timeout_seconds);
    checks.pair(
        ["tracing.ratio", "tracing.otlp.endpoint"],
        config.tracing.ratio == 0.0 || !endpoint.is_empty(),
        "without tracing.otlp.endpoint nothing takes the traces",
    );
}

fn streams(checks: &mut Checks<'_>, config: &Config) {
    checks.positive("sse.heartbeat_seconds", config.sse.heartbeat_seconds);
    let retry = (100..=600_000).contains(&config.sse.retry_ms);
    checks.value("sse.retry_ms", retry, "100 to 600000 milliseconds");
    checks.value("cors.origins", config.cors.origins.iter().all(|origin| rules::is_origin(origin)), ORIGINS);
    let is_header = |name: &String| http::HeaderName::from_bytes(name.as_bytes()).is_ok();
    checks.value("cors.headers", config.cors.headers.iter().all(is_header), "names of request headers");
}

fn sizes(checks: &mut Checks<'_>, config: &Config) {
    let event_bytes = config.limits.event_bytes;
    let limited = (1..=64 * MIB).contains(&event_bytes);
    checks.value("limits.event_bytes", limited, "1 to 67108864 bytes");
    let connections = 1..=CONNECTIONS_MAX;
    checks.value("limits.connections", connections.contains(&config.limits.connections), CONNECTIONS);
    checks.value("limits.workspaces", connections.contains(&config.limits.workspaces), CONNECTIONS);
    checks.positive("auth.ticket_seconds", config.auth.ticket_seconds);
    checks.pair(
        ["limits.ring_bytes", "ring.bytes"],
        config.limits.ring_bytes >= config.ring.bytes,
        "limits.ring_bytes must not be less than ring.bytes, so that one workspace's events fit",
    );
    checks.pair(
        ["limits.replay_bytes", "ring.bytes"],
        config.limits.replay_bytes / 8 >= config.ring.bytes,
        "limits.replay_bytes must be at least eight times ring.bytes, so that several clients can read logs at a time",
    );
    checks.pair(
        ["limits.unsent_bytes", "ring.bytes"],
        config.limits.unsent_bytes >= config.ring.bytes,
        "limits.unsent_bytes must not be less than ring.bytes, so that slow clients of one workspace can lack that much",
    );
    rates(checks, config);
    checks.value("embedded.clients", connections.contains(&config.embedded.clients), CONNECTIONS);
    checks.pair(
        ["embedded.clients_bytes", "embedded.output_bytes"],
        config.embedded.clients_bytes / 2 >= config.embedded.output_bytes,
        "embedded.clients_bytes must be at least twice embedded.output_bytes, so that one client does not take all of it",
    );
    checks.pair(
        ["embedded.log_bytes", "retention.bytes"],
        config.redis.is_configured() || config.embedded.log_bytes >= config.retention.bytes,
        "embedded.log_bytes must not be less than retention.bytes, so that one log fits",
    );
    let (of_all, of_one) = (config.embedded.idempotency_bytes, config.embedded.idempotency_workspace_bytes);
    checks.value("embedded.idempotency_workspace_bytes", of_one >= MIB, "at least 1048576 bytes");
    checks.pair(
        ["embedded.idempotency_bytes", "embedded.idempotency_workspace_bytes"],
        of_all >= of_one,
        "embedded.idempotency_bytes must not be less than embedded.idempotency_workspace_bytes",
    );
    checks.value(
        "retention.events",
        (1..=10_000_000).contains(&config.retention.events),
        "1 to 10000000 events",
    );
    checks.value(
        "retention.seconds",
        config.retention.seconds.duration().as_secs() >= 1,
        "1 second to a day",
    );
    checks.value("retention.bytes", config.retention.bytes >= 1, "at least 1 byte");
    checks.value(
        "limits.batch_bytes",
        (1..=256 * MIB).contains(&config.limits.batch_bytes),
        "1 to 268435456 bytes",
    );
    if limited {
        let limits = &config.limits;
        for (largest, bytes) in
            [("limits.batch_bytes", limits.batch_bytes), ("limits.event_bytes", event_bytes)]
        {
            checks.pair(
                ["limits.body_bytes", largest],
                limits.body_bytes / LARGEST_BODIES_MIN >= bytes,
                BODY_FITS,
            );
        }
    }
    checks.value("replay.concurrent", (1..=10_000).contains(&config.replay.concurrent), "1 to 10000 reads");
    checks.value(
        "replay.page_events",
        (1..=10_000).contains(&config.replay.page_events),
        "1 to 10000 events",
    );
    checks.value(
        "replay.newest_max",
        (1..=100_000).contains(&config.replay.newest_max),
        "1 to 100000 events",
    );
    checks.value("delivery.shards", config.delivery.shards <= 64, "0 to 64 threads");
    checks.value("ring.events", (1..=10_000_000).contains(&config.ring.events), "1 to 10000000 events");
    checks.value(
        "redis.reply_bytes",
        (MIB..=1024 * MIB).contains(&config.redis.reply_bytes),
        "1048576 to 1073741824 bytes",
    );
    if limited {
        let least = event_bytes + FRAME_HEAD_BYTES;
        checks.pair(
            ["ring.bytes", "limits.event_bytes"],
            config.ring.bytes >= least,
            "ring.bytes must be at least limits.event_bytes + 1024, so that the largest event fits",
        );
        checks.pair(
            ["embedded.output_bytes", "limits.event_bytes"],
            config.embedded.output_bytes >= least,
            "embedded.output_bytes must be at least limits.event_bytes + 1024, so that the largest event fits",
        );
    }
}

const BODY_FITS: &str = "limits.body_bytes must be at least eight times limits.batch_bytes and limits.event_bytes, so that the \
                         largest body fits into one client's share";

/// What a bucket holds is a number of 32 bits, and it fills by whole nanoseconds.
const RATE_MAX: usize = 100_000_000;

fn rates(checks: &mut Checks<'_>, config: &Config) {
    let limits = &config.limits;
    checks.value("limits.events_per_second", limits.events_per_second <= RATE_MAX, "0 to 100000000 events");
    let bytes = limits.event_bytes_per_second;
    checks.value("limits.event_bytes_per_second", bytes <= RATE_MAX, "0 to 100000000 bytes");
    checks.pair(
        ["limits.event_bytes_per_second", "limits.event_bytes"],
        bytes == 0 || bytes >= limits.event_bytes,
        "limits.event_bytes_per_second must be 0 or at least limits.event_bytes, so that the largest event fits",
    );
}

fn listeners(checks: &mut Checks<'_>, config: &Config) {
    let (server, admin) = (&config.server.listen, &config.admin.listen);
    checks.pair(["server.listen", "admin.listen"], !server.collides(admin), DIFFER);
    // With a Redis configured the embedded bus does not listen.
    let embedded = config.embedded.listen.filter(|_| !config.redis.is_configured());
    if let Some(embedded) = embedded.map(ListenAddress::from) {
        let password = config.embedded.password.reveal().chars().count();
        checks.pair(
            ["embedded.listen", "embedded.password"],
            embedded.is_local() || password >= PASSWORD_CHARACTERS_MIN,
            "others can reach this address: set embedded.password, to at least 16 characters, or listen on a loopback \
             address, such as 127.0.0.1:6380",
        );
        checks.pair(["embedded.listen", "server.listen"], !embedded.collides(server), DIFFER);
        checks.pair(["embedded.listen", "admin.listen"], !embedded.collides(admin), DIFFER);
    }
}

fn console(checks: &mut Checks<'_>, config: &Config) {
    let admin = &config.admin;
    checks.value(
        "admin.token",
        admin.token.is_empty() || admin.token.reveal().chars().count() >= PASSWORD_CHARACTERS_MIN,
        "nothing, or at least 16 characters",
    );
    checks.pair(
        ["admin.token", "admin.token_file"],
        admin.token.is_empty() || admin.token_file.is_none(),
        "the token comes from one place: set admin.token or admin.token_file",
    );
    let is_url = |url: &str| url.is_empty() || rules::is_origin(url) && !url.contains('*');
    checks.value("admin.url", is_url(&admin.url), ADMIN_URL);
    checks.value("admin.hosts", admin.hosts.iter().all(|host| rules::is_host(host)), HOSTS);
}

fn access(checks: &mut Checks<'_>, config: &Config) {
    let listen = &config.server.listen;
    match config.auth.mode {
        AuthMode::Unset if !listen.is_local() => checks.open_to_others(listen),
        AuthMode::Unset => checks.pair(
            ["server.trusted_proxies", "auth.mode"],
            config.server.trusted_proxies.is_empty(),
            "a proxy serves other machines: set auth.mode, \"jwt\" or \"forward\", or \"none\" if every client may read and publish",
        ),
        AuthMode::None | AuthMode::Methods(_) => {}
    }
    for (key, has_headers) in [
        ("server.proxy_protocol", config.server.proxy_protocol),
        ("admin.proxy_protocol", config.admin.proxy_protocol),
    ] {
        checks.pair(
            [key, "server.trusted_proxies"],
            !has_headers || !config.server.trusted_proxies.is_empty(),
            "any client could name any address in a PROXY header: list the senders of such headers in server.trusted_proxies",
        );
    }
}

const MIB: usize = 1024 * 1024;

const BASE_PATH: &str =
    "nothing, or segments of A-Z a-z 0-9 . _ ~ - that each begin with a slash, such as /api";
const REDIS_URL: &str = "an address such as redis://user:password@host:6379, rediss://host or redis+unix:///run/redis.sock \
     (write / ? # @ : in a password as %2F %3F %23 %40 %3A)";
const CLUSTER_NODE: &str = "addresses such as redis://user:password@host:6379 or rediss://host";
const CHANNEL_PREFIX: &str = r"1 to 128 characters of printable ASCII without spaces and * ? [ ] \";
const ORIGINS: &str = "\"*\", or origins as browsers send them: lower case, no path, no slash at the end, \
     no default port, such as \"https://app.example.com\" or \"https://*.example.com\"";
const ADMIN_URL: &str =
    "nothing, or an origin in lower case without a path, such as \"https://console.internal\"";
const ENDPOINT: &str = "nothing, or a URL such as http://127.0.0.1:4318 or https://collector.internal:4318, without a name, password or query";
const LOG_LEVEL: &str =
    "error, warn, info, debug, trace or off, or directives without spaces such as info,tidings_bus=debug";
const CONNECTIONS: &str = "1 to 10000000 connections";
const HOSTS: &str = "names or addresses in lower case, without a port, such as \"console.internal\"";
const DIFFER: &str = "two listeners cannot share an address";

/// Collects problems, and finds for each the printable value and its source.
pub(super) struct Checks<'a> {
    values: &'a [EffectiveValue],
    problems: Vec<ConfigProblem>,
}

impl<'a> Checks<'a> {
    /// A rule for one value.
    pub(super) fn value(&mut self, key: &str, holds: bool, expected: &str) {
        let Some(value) = self.find(key) else { return };
        if !holds {
            self.problems.push(ConfigProblem::Value { found: value.into(), expected: expected.to_owned() });
        }
    }

    pub(super) fn positive(&mut self, key: &str, seconds: Seconds) {
        self.value(key, seconds.duration() > Duration::ZERO, "more than 0 seconds");
    }

    /// A rule for two values. A value that is not a default is named first.
    pub(super) fn pair(&mut self, keys: [&str; 2], holds: bool, rule: &'static str) {
        let [Some(mut value), Some(mut other)] = keys.map(|key| self.find(key)) else { return };
        if holds {
            return;
        }
        if value.source == Source::Default {
            (value, other) = (other, value);
        }
        self.problems.push(ConfigProblem::Conflict {
            found: value.into(),
            other: Box::new(other.into()),
            rule,
        });
    }

    fn open_to_others(&mut self, listen: &ListenAddress) {
        if let Some(value) = self.find("server.listen") {
            self.problems
                .push(ConfigProblem::OpenToOthers { origin: value.source.clone(), listen: listen.clone() });
        }
    }

    /// A value by its key. A rule for a missing key is a defect, whether the rule holds or not. So
    /// no such rule gets past the first load.
    fn find(&mut self, key: &str) -> Option<&'a EffectiveValue> {
        let found = self.values.iter().find(|value| value.key == key);
        if found.is_none() {
            self.problems.push(ConfigProblem::Defaults(format!("a rule names {key}, which does not exist")));
        }
        found
    }
}
