//! All metrics of a node, each declared once.

use std::fmt;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use super::authentication::AuthenticationTimes;
use super::build_info::BuildInfo;
use super::declare::{CounterBy, FloatGauge, metrics};
use super::delivery_times::DeliveryTimes;
use super::forward::{ForwardMetrics, ForwardOutcome};
use super::kinds::{EventKind, SchemaResult, SpanResult};
use super::rejections::Rejections;
use super::sign_in::SignInOutcome;

/// The buckets of durations within a node and its network, in seconds.
///
/// Most limits of a node on a wait are 5 seconds. So there is a bucket on each side of 5.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 4.0, 5.0, 6.0, 10.0];

metrics! {
    /// Holds the counters and gauges of a node, from the start of the process.
    pub struct Metrics {
        /// Open connections on the public listener.
        pub connections: Gauge { name: "connections", more: "The limit is `limits.connections`." }

        /// Bytes of rings that the node keeps at most.
        pub ring_bytes_max: Gauge {
            name: "ring_max",
            unit: Some(Unit::Bytes),
            more: "This is `limits.ring_bytes`.",
        }

        /// Bytes of logs that replays keep in memory at most.
        pub replay_bytes_max: Gauge {
            name: "replay_max",
            unit: Some(Unit::Bytes),
            more: "This is `limits.replay_bytes`.",
        }

        /// Bytes of buffers for streams that have not received their events, at most.
        pub unsent_bytes_max: Gauge {
            name: "unsent_max",
            unit: Some(Unit::Bytes),
            more: "This is `limits.unsent_bytes`.",
        }

        /// Connections that the public listener accepts at a time.
        pub connections_max: Gauge {
            name: "connections_max",
            more: "This is `limits.connections`, or less where the limit of open files is too low.",
        }

        /// Connections that the configuration asks for.
        pub connections_configured: Gauge {
            name: "connections_configured",
            more: "This is `limits.connections`.",
        }

        /// Bytes of rings beyond which the node refuses further workspaces.
        pub ring_bytes_full: Gauge {
            name: "ring_full",
            unit: Some(Unit::Bytes),
            more: "This is `limits.ring_bytes` without the largest event.",
        }

        /// Bytes of memory for the bodies of requests, at most.
        pub body_bytes_max: Gauge {
            name: "body_max",
            unit: Some(Unit::Bytes),
            more: "This is `limits.body_bytes`.",
        }

        /// The build, always 1.
        build: BuildInfo {
            name: "build_info",
            label: Some("version"),
            values: &[env!("CARGO_PKG_VERSION")],
            more: "The label `commit` has the commit, or `unknown`.",
        }

        /// Whether the node is ready for clients, 1 or 0.
        pub ready: Gauge { name: "ready", more: "It is 1 while `/ready` returns 200." }

        /// Whether the node drains, 1 or 0.
        pub draining: Gauge { name: "draining" }

        /// Whether the link to the bus is up, 1 or 0.
        pub bus_up: Gauge {
            name: "bus_up",
            more: "The bus has confirmed or rejected each subscription then. In a cluster, a primary \
                   that the cluster reports as failed does not count: see `tidings_cluster_shards_up`.",
        }

        /// Workspaces whose subscription the bus rejects.
        pub bus_refused: Gauge {
            name: "bus_refused_workspaces",
            more: "Most likely the user of Redis may not subscribe to their channels.",
        }

        /// Requests for a stream that got 503 because the bus did not confirm the workspace.
        pub streams_unconfirmed: Counter {
            name: "streams_unconfirmed",
            more: "A client that takes an event stream gets `tidings.reconnect` instead, and counts in \
                   `tidings_reconnects_total` as `unavailable`.",
        }

        /// The clock of the node minus the clock of Redis, in seconds.
        pub clock_difference: FloatGauge {
            name: "bus_clock_difference",
            unit: Some(Unit::Seconds),
            more: "It is 0 on the embedded bus, and without the right to `TIME`. In a cluster it is \
                   that of the server whose clock differs most.",
        }

        /// The time of the last change of the link to the bus, in seconds since 1970.
        pub bus_since: Gauge { name: "bus_since_timestamp", unit: Some(Unit::Seconds) }

        /// Links to the bus that were up.
        pub bus_links: Counter { name: "bus_links", more: "The first one counts too." }

        /// Links to the bus that were up and are lost.
        pub bus_interruptions: Counter { name: "bus_interruptions" }

        /// Connections that the public listener has accepted.
        pub connections_accepted: Counter { name: "connections_accepted" }

        /// Open connections that the engine writes to.
        pub handed_off: Gauge {
            name: "connections_handed_off",
            more: "These are streams over HTTP/1.1 without TLS (`delivery.writer`).",
        }

        /// Open streams.
        pub subscribers: Gauge { name: "subscribers" }

        /// Workspaces that the node holds, with those that linger.
        pub workspaces: Gauge { name: "workspaces" }

        /// Bytes of the rings of all workspaces.
        pub ring_bytes: Gauge {
            name: "ring",
            unit: Some(Unit::Bytes),
            more: "The limit is `limits.ring_bytes`.",
        }

        /// Bytes of logs in memory for replays.
        pub replay_bytes: Gauge {
            name: "replay",
            unit: Some(Unit::Bytes),
            more: "The limit is `limits.replay_bytes`.",
        }

        /// Bytes of buffers with events for streams that have not received them.
        pub unsent_bytes: Gauge {
            name: "unsent",
            unit: Some(Unit::Bytes),
            more: "The limit is `limits.unsent_bytes`.",
        }

        /// Bytes of memory for the bodies of requests that the node receives or publishes.
        pub body_bytes: Gauge {
            name: "body",
            unit: Some(Unit::Bytes),
            more: "A body counts twice. The limit is `limits.body_bytes`.",
        }

        /// Streams of the engine whose client takes no more bytes for now.
        pub streams_behind: Gauge {
            name: "streams_behind",
            more: "`tidings_unsent_bytes` has the bytes that they lack.",
        }

        /// The time from an event to its last write, in seconds.
        pub delivery_seconds: DeliveryTimes {
            name: "delivery",
            unit: Some(Unit::Seconds),
            buckets: SECONDS,
            more: "It begins with the time in the event's id, by the clock of the bus. It ends when \
                   a thread of the engine has offered the event to each of its clients. For a stream \
                   of the HTTP server it ends when the server takes the bytes of the event, and \
                   each stream counts. Events that come together count once, with the time of the \
                   oldest. Events that wait for a slow client or are replayed do not count. In OpenMetrics \
                   a bucket may have an exemplar: the last sampled event among those that were \
                   measured ([traces](tracing.md)).",
        }

        /// The time to publish over HTTP, in seconds.
        pub publish_seconds: Histogram {
            name: "publish",
            unit: Some(Unit::Seconds),
            buckets: SECONDS,
            more: "It begins when the body is complete, and ends with the reply of the bus.",
        }

        /// The time to read a page of a log, in seconds.
        pub log_read_seconds: Histogram {
            name: "log_read",
            unit: Some(Unit::Seconds),
            buckets: SECONDS,
            more: "It includes the retries while the bus is away.",
        }

        /// The time to authenticate a request, in seconds.
        pub authentication: AuthenticationTimes {
            name: "authentication",
            unit: Some(Unit::Seconds),
            label: Some("method,outcome"),
            buckets: SECONDS,
            more: "The method is `jwt`, `forward` or `ticket`. The outcome is `accepted`, `denied`, \
                   or `failed` where a later attempt may succeed.",
        }

        /// The time of a request to the app, in seconds.
        forward_seconds: Histogram {
            name: "forward_request",
            unit: Some(Unit::Seconds),
            buckets: SECONDS,
            more: "It includes the wait for a slot. A request without a valid response counts too.",
        }

        /// The time of a TLS handshake on the public listener, in seconds.
        pub tls_handshake_seconds: Histogram {
            name: "tls_handshake",
            unit: Some(Unit::Seconds),
            buckets: SECONDS,
            more: "Handshakes that fail count too.",
        }

        /// Events from the bus.
        pub(crate) events: CounterBy {
            name: "events",
            label: Some("kind"),
            values: &EventKind::VALUES,
            more: "The kind is `live`, or `logged` for durable events.",
        }

        /// Events that the node dropped.
        pub(crate) dropped: CounterBy {
            name: "events_dropped",
            label: Some("reason"),
            more: "The reason is `too-large`, `not-utf8`, `bad-envelope`, `bad-entry` or \
                   `rate-limited`. Each is the fault of a publisher. In a cluster, `bad-envelope` may \
                   come from a primary that returns after its replacement.",
        }

        /// Events that the node wrote to streams.
        pub deliveries: Counter {
            name: "deliveries",
            more: "Divided by the events, this is the fan-out.",
        }

        /// Bytes that the node wrote to streams, heartbeats included.
        pub delivered_bytes: Counter { name: "delivered", unit: Some(Unit::Bytes) }

        /// Calls that wrote to sockets of the public listener.
        pub socket_writes: Counter {
            name: "socket_writes",
            more: "They are for streams and for all other responses. Deliveries divided by writes \
                   is the number of events in one write; it rises with the load.",
        }

        /// Resets, by the reason for which events may be missing.
        pub(crate) resets: CounterBy {
            name: "resets",
            label: Some("reason"),
            more: "A [reset](protocol.md#the-brokers-own-events) counts once for a workspace, \
                   or once for a client that resumes.",
        }

        /// Logs that lost events which the node had received.
        pub log_losses: Counter {
            name: "log_losses",
            more: "Redis lost them by a failover or a restart without its data. Each node counts a \
                   log once for each loss. The position of a client never counts. An expiry or a \
                   deletion that nothing beside the log explains counts too.",
        }

        /// Streams that the node ended with a request to reconnect, by reason.
        pub(crate) reconnects: CounterBy {
            name: "reconnects",
            label: Some("reason"),
            more: "The [protocol](protocol.md#the-brokers-own-events) has the reasons. Many \
                   `lagging` ones ask for a larger `ring.events`.",
        }

        /// Connections, streams and bodies beyond a limit.
        pub(crate) refusals: CounterBy {
            name: "refusals",
            label: Some("reason"),
            more: "The reason is the [limit](operations.md#limits), see below.",
        }

        /// Streams that ended, by the `why` of their log line.
        pub(crate) ended_streams: CounterBy {
            name: "ended_streams",
            label: Some("why"),
            more: "[The log](logging.md) has the same texts.",
        }

        /// Requests that the node rejected, by the `request` and `reason` of their log line.
        pub(crate) rejections: Rejections {
            name: "rejected_requests",
            label: Some("request,reason"),
            more: "The reason is a [type of problem](errors.md), or the reason of a \
                   `tidings.reconnect`. A combination that is rare has no series before its first \
                   count.",
        }

        /// Requests that authentication rejected, by the check that failed.
        pub(crate) denials: CounterBy {
            name: "denials",
            label: Some("reason"),
            more: "[Errors](errors.md#authentication) has the checks.",
        }

        /// Attempts to sign in to the console, or to use the admin token.
        pub(crate) sign_ins: CounterBy {
            name: "console_sign_ins",
            label: Some("outcome"),
            values: &SignInOutcome::VALUES,
            more: "The outcome is `accepted` for a session that begins, `rejected`, or `limited` after \
                   ten failures of an address in a minute.",
        }

        /// Commands of the control channel that the node carried out.
        pub control_commands: Counter {
            name: "control_commands",
            more: "Each is a [disconnect](protocol.md#disconnects).",
        }

        /// Messages on the control channel that are not a valid command.
        pub control_commands_invalid: Counter {
            name: "control_commands_invalid",
            more: "The node ignores them.",
        }

        /// Events that the node published for HTTP requests.
        pub published: Counter { name: "published" }

        /// Publications over HTTP that the bus rejected or did not confirm.
        pub publish_failures: Counter { name: "publish_failures" }

        /// Events that the node checked by their schemas.
        pub(crate) schema_checks: CounterBy {
            name: "schema_checks",
            label: Some("result"),
            values: &SchemaResult::VALUES,
            more: "The result is `valid`, `mismatch`, `no-schema`, `refused` or `unchecked`. A node \
                   delivers all but `refused` ones, which come over HTTP with `enforce`. It does not \
                   check events that come too fast. See \
                   [versions of events](guides/event-versions.md).",
        }

        /// Spans of sampled events and publications.
        pub(crate) spans: CounterBy {
            name: "spans",
            label: Some("result"),
            values: &SpanResult::VALUES,
            more: "The result is `exported`, `dropped` if the collector did not take them in time, or \
                   `left-out` for events beyond 256 at a time. See [traces](tracing.md).",
        }

        /// Primaries of the cluster with slots.
        pub cluster_shards: Gauge {
            name: "cluster_shards",
            more: "It is 0 without `redis.cluster.nodes`, as are the other metrics of a cluster.",
        }

        /// Primaries of the cluster whose link for events is up.
        pub cluster_shards_up: Gauge {
            name: "cluster_shards_up",
            more: "Workspaces of the others get no events.",
        }

        /// Workspaces that the node wants from the cluster.
        pub cluster_wanted: Gauge { name: "cluster_subscriptions_wanted" }

        /// Workspaces whose subscription the cluster has confirmed.
        pub cluster_confirmed: Gauge { name: "cluster_subscriptions_confirmed" }

        /// Subscriptions that the node made again over a new link.
        pub cluster_resubscriptions: Counter { name: "cluster_resubscriptions" }

        /// Links for events of a primary that were lost.
        pub cluster_links_lost: Counter { name: "cluster_links_lost" }

        /// Seconds since a server of the cluster last reported the topology.
        pub cluster_topology_age: Gauge {
            name: "cluster_topology_age",
            unit: Some(Unit::Seconds),
            more: "More than 10 seconds make the node unready.",
        }

        /// Log lines that the node could not write.
        pub log_lines_dropped: Counter {
            name: "log_lines_dropped",
            more: "[Standard error](logging.md#a-log-without-a-reader) was full, closed or slow.",
        }

        /// The time at which the certificate of the public listener ends, in seconds since 1970.
        pub tls_not_after: Gauge {
            name: "tls_certificate_not_after",
            unit: Some(Unit::Seconds),
            more: "It is 0 without TLS.",
        }

        /// The time at which the certificate of the public listener begins, in seconds since 1970.
        pub tls_not_before: Gauge {
            name: "tls_certificate_not_before",
            unit: Some(Unit::Seconds),
            more: "It is 0 without TLS.",
        }

        /// Whether the last read of the certificate and its key succeeded, 1 or 0.
        pub certificate_read: Gauge {
            name: "tls_certificate_last_reload_successful",
            more: "While it is 0, the node uses the certificate before.",
        }

        /// Whether the last reload of the configuration succeeded, 1 or 0.
        pub config_read: Gauge {
            name: "config_last_reload_successful",
            more: "While it is 0, the node uses the configuration before.",
        }

        /// The time of the last successful reload, or of the start, in seconds since 1970.
        pub config_read_at: Gauge {
            name: "config_last_reload_success_timestamp",
            unit: Some(Unit::Seconds),
        }

        /// Decisions of the app, by outcome.
        forward_decisions: CounterBy {
            name: "forward",
            label: Some("outcome"),
            values: &ForwardOutcome::VALUES,
            more: "The outcome is `allowed`, `denied`, `failed` or `cached`, see below. Clients \
                   that share a request count once.",
        }

        /// Open requests to the app.
        forward_in_flight: Gauge {
            name: "forward_in_flight",
            more: "A value near `auth.forward.concurrent` for long means that the app is too slow.",
        }

        /// Whether the last read of the key files succeeded, 1 or 0.
        pub keys_read: Gauge {
            name: "key_files_last_reload_successful",
            more: "While it is 0, the node uses the keys before.",
        }

        /// Keys that the node knows from `auth.jwt.jwks_url`.
        pub jwks_keys: Gauge { name: "jwks_keys" }

        /// URLs of `auth.jwt.jwks_url` of which the node knows no key.
        pub jwks_urls_without_keys: Gauge {
            name: "jwks_urls_without_keys",
            more: "Tokens that need their keys get 503.",
        }

        /// Key sets that the node fetched from `auth.jwt.jwks_url`.
        pub jwks_fetches: Counter { name: "jwks_fetches" }

        /// Fetches of key sets that failed.
        pub jwks_fetch_failures: Counter {
            name: "jwks_fetch_failures",
            more: "The node keeps the last known keys.",
        }
    }
}

impl Metrics {
    /// Creates all metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self::declared().0;
        for succeeded in [&metrics.certificate_read, &metrics.config_read, &metrics.keys_read] {
            succeeded.set(1);
        }
        metrics
    }

    /// Sets the commit of the program in the metric of the build.
    pub fn set_commit(&self, commit: &'static str) {
        self.build.set(env!("CARGO_PKG_VERSION"), commit);
    }

    /// Returns the metrics of forward auth, as handles to those of the node.
    #[must_use]
    pub fn forward(&self) -> ForwardMetrics {
        ForwardMetrics::new(
            self.forward_decisions.clone(),
            self.forward_in_flight.clone(),
            self.forward_seconds.clone(),
        )
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
