//! All metrics of a node, each declared once.

use std::fmt;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::authentication::AuthenticationTimes;
use super::build_info::BuildInfo;
use super::declare::{CounterBy, metrics};
use super::delivery_times::DeliveryTimes;
use super::forward::{ForwardMetrics, ForwardOutcome};
use super::series::Series;
use super::sign_in::SignInOutcome;
use super::text_format::{self, TextFormat};

/// The buckets of durations within a node and its network, in seconds.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The outcome of the check of an event by its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaResult {
    /// The event matches.
    Valid,
    /// The event does not match, and is delivered.
    Mismatch,
    /// The type of the event has no schema, and the event is delivered.
    NoSchema,
    /// The node refused the event, which came over HTTP.
    Refused,
    /// Too many events came at once, so the event was not checked.
    Unchecked,
}

/// The outcome of the span of a sampled event or publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanResult {
    /// The collector took it.
    Exported,
    /// The collector did not take it in time.
    Dropped,
    /// Too many sampled events were on their way, so the event got no span.
    LeftOut,
}

/// Whether an event is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A live event, without an entry in the log.
    Live,
    /// A durable event.
    Logged,
}

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
        pub connections_max: Gauge { name: "connections_max", more: "This is `limits.connections`." }

        /// The build, always 1.
        build: BuildInfo {
            name: "build_info",
            label: Some("version"),
            values: &[env!("CARGO_PKG_VERSION")],
            more: "The label `commit` has the commit, or `unknown`.",
        }

        /// Whether the node is ready for clients, 1 or 0.
        pub ready: Gauge { name: "ready", more: "It is 1 while `/ready` returns 200." }

        /// Whether the link to the bus is up with all its subscriptions, 1 or 0.
        pub bus_up: Gauge { name: "bus_up" }

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
        events: CounterBy {
            name: "events",
            label: Some("kind"),
            values: &EventKind::VALUES,
            more: "The kind is `live`, or `logged` for durable events.",
        }

        /// Events that the node dropped.
        dropped: CounterBy {
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
        resets: CounterBy {
            name: "resets",
            label: Some("reason"),
            more: "A [reset](protocol.md#the-brokers-own-events) counts once for a workspace, \
                   or once for a client that resumes.",
        }

        /// Streams that the node ended with a request to reconnect, by reason.
        reconnects: CounterBy {
            name: "reconnects",
            label: Some("reason"),
            more: "The [protocol](protocol.md#the-brokers-own-events) has the reasons. Many \
                   `lagging` ones ask for a larger `ring.events`.",
        }

        /// Connections, streams and bodies beyond a limit.
        refusals: CounterBy {
            name: "refusals",
            label: Some("reason"),
            more: "The reason is the [limit](operations.md#limits), see below.",
        }

        /// Requests that authentication rejected, by the check that failed.
        denials: CounterBy {
            name: "denials",
            label: Some("reason"),
            more: "[Errors](errors.md#authentication) has the checks.",
        }

        /// Attempts to sign in to the console, or to use the admin token.
        sign_ins: CounterBy {
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
        schema_checks: CounterBy {
            name: "schema_checks",
            label: Some("result"),
            values: &SchemaResult::VALUES,
            more: "The result is `valid`, `mismatch`, `no-schema`, `refused` or `unchecked`. A node \
                   delivers all but `refused` ones, which come over HTTP with `enforce`. It does not \
                   check events that come too fast. See \
                   [versions of events](guides/event-versions.md).",
        }

        /// Spans of sampled events and publications.
        spans: CounterBy {
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
        pub cluster_shards_up: Gauge { name: "cluster_shards_up" }

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

        /// Key sets that the node fetched from `auth.jwt.jwks_url`.
        pub jwks_fetches: Counter { name: "jwks_fetches" }

        /// Fetches of key sets that failed.
        pub jwks_fetch_failures: Counter {
            name: "jwks_fetch_failures",
            more: "The node keeps the last known keys.",
        }
    }
}

/// Returns the table of `docs/metrics.md`: Markdown with a row for each metric.
#[must_use]
pub fn markdown() -> String {
    let mut text = "| metric | type | meaning |\n| --- | --- | --- |\n".to_owned();
    for metric in Metrics::declared().1 {
        let label = metric.label.map(|label| format!("{{{label}}}")).unwrap_or_default();
        let unit = metric.unit.as_ref().map(|unit| format!(", {}", unit.as_str())).unwrap_or_default();
        let meaning = format!("{} {}", metric.help, metric.more);
        let (sample, kind) = (metric.sample(), &metric.kind);
        text.push_str(&format!("| `{sample}{label}` | {kind}{unit} | {} |\n", meaning.trim_end()));
    }
    text
}

impl Metrics {
    /// Creates all metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::declared().0
    }

    /// Creates the series of these label values, with 0. A rate of a series that begins with its
    /// first count lacks that count.
    pub fn create(&self, series: &Series<'_>) {
        for (counter, values) in [
            (&self.resets, series.resets),
            (&self.dropped, series.dropped),
            (&self.reconnects, series.reconnects),
            (&self.refusals, series.refusals),
            (&self.denials, series.denials),
        ] {
            for value in values {
                counter.create(value);
            }
        }
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

    /// Counts an event from the bus.
    pub fn count_event(&self, kind: EventKind) {
        self.events.inc(kind.as_str());
    }

    /// Counts a connection, stream or body beyond the limit that `reason` names.
    pub fn count_refusal(&self, reason: &'static str) {
        self.refusals.inc(reason);
    }

    /// Counts an event that the node dropped.
    pub fn count_dropped(&self, reason: &'static str) {
        self.dropped.inc(reason);
    }

    /// Counts events that were checked by their schemas.
    pub fn count_schema_checks(&self, result: SchemaResult, events: u64) {
        self.schema_checks.inc_by(result.as_str(), events);
    }

    /// Counts spans.
    pub fn count_spans(&self, result: SpanResult, spans: u64) {
        self.spans.inc_by(result.as_str(), spans);
    }

    /// Returns the number of spans with a result.
    #[must_use]
    pub fn spans(&self, result: SpanResult) -> u64 {
        self.spans.get(result.as_str())
    }

    /// Counts a reset.
    pub fn count_reset(&self, reason: &'static str) {
        self.resets.inc(reason);
    }

    /// Counts a stream that the node ended with a request to reconnect.
    pub fn count_reconnect(&self, reason: &'static str) {
        self.reconnects.inc(reason);
    }

    /// Counts a request that authentication rejected.
    pub fn count_denial(&self, reason: &'static str) {
        self.denials.inc(reason);
    }

    /// Counts an attempt to sign in to the console.
    pub fn count_sign_in(&self, outcome: SignInOutcome) {
        self.sign_ins.inc(outcome.as_str());
    }

    /// Returns the number of events of a kind from the bus.
    #[must_use]
    pub fn events(&self, kind: EventKind) -> u64 {
        self.events.get(kind.as_str())
    }

    /// Returns the number of events that were dropped for a reason.
    #[must_use]
    pub fn dropped(&self, reason: &'static str) -> u64 {
        self.dropped.get(reason)
    }

    /// Returns the number of connections, streams and bodies beyond the limit that `reason` names.
    #[must_use]
    pub fn refusals(&self, reason: &'static str) -> u64 {
        self.refusals.get(reason)
    }

    /// Returns the number of requests that authentication rejected by the check that `reason`
    /// names.
    #[must_use]
    pub fn denials(&self, reason: &'static str) -> u64 {
        self.denials.get(reason)
    }

    /// Returns the number of checks by schemas with a result.
    #[must_use]
    pub fn schema_checks(&self, result: SchemaResult) -> u64 {
        self.schema_checks.get(result.as_str())
    }

    /// Returns the number of resets for a reason.
    #[must_use]
    pub fn resets(&self, reason: &'static str) -> u64 {
        self.resets.get(reason)
    }

    /// Returns the number of streams that the node ended for a reason.
    #[must_use]
    pub fn reconnects(&self, reason: &'static str) -> u64 {
        self.reconnects.get(reason)
    }

    /// Encodes all metrics in a text format.
    ///
    /// # Errors
    ///
    /// Returns an error only if a metric cannot encode itself; none of these fails.
    pub fn encode(&self, format: TextFormat) -> Result<String, fmt::Error> {
        text_format::encode(&[&self.registry], format)
    }

    /// Encodes all metrics and those of another registry in a text format.
    ///
    /// # Errors
    ///
    /// Returns an error only if a metric cannot encode itself; none of these fails.
    pub fn encode_with(&self, other: &Registry, format: TextFormat) -> Result<String, fmt::Error> {
        text_format::encode(&[&self.registry, other], format)
    }
}

impl SchemaResult {
    /// The values of the label, in the order of declaration.
    const VALUES: [&str; 5] = [
        Self::Valid.as_str(),
        Self::Mismatch.as_str(),
        Self::NoSchema.as_str(),
        Self::Refused.as_str(),
        Self::Unchecked.as_str(),
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Mismatch => "mismatch",
            Self::NoSchema => "no-schema",
            Self::Refused => "refused",
            Self::Unchecked => "unchecked",
        }
    }
}

impl SpanResult {
    /// The values of the label, in the order of declaration.
    const VALUES: [&str; 3] = [Self::Exported.as_str(), Self::Dropped.as_str(), Self::LeftOut.as_str()];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Dropped => "dropped",
            Self::LeftOut => "left-out",
        }
    }
}

impl EventKind {
    const VALUES: [&str; 2] = [Self::Live.as_str(), Self::Logged.as_str()];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Logged => "logged",
        }
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
