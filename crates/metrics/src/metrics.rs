//! All metrics of a node, each declared once.

use std::fmt;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;

use super::declare::{CounterBy, metrics};
use super::forward::{ForwardMetrics, ForwardOutcome};

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

        /// Events from the bus.
        events: CounterBy {
            name: "events",
            label: Some("kind"),
            more: "The kind is `live`, or `logged` for durable events.",
        }

        /// Events that the node dropped.
        dropped: CounterBy {
            name: "events_dropped",
            label: Some("reason"),
            more: "The reason is `too-large`, `not-utf8`, `bad-envelope`, `bad-entry` or \
                   `rate-limited`. Each is the fault of a publisher.",
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
            more: "The result is `valid`; `mismatch` or `no-schema` for an event that is delivered \
                   in spite of it; `refused` for HTTP with `enforce`; or `unchecked`, because too \
                   many came at once. See [versions of events](guides/event-versions.md).",
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

    /// Returns the metrics of forward auth, as handles to those of the node.
    #[must_use]
    pub fn forward(&self) -> ForwardMetrics {
        ForwardMetrics::new(self.forward_decisions.clone(), self.forward_in_flight.clone())
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

    /// Encodes all metrics in the Prometheus text form (OpenMetrics 1.0).
    ///
    /// # Errors
    ///
    /// Returns an error only if a metric cannot encode itself; none of these fails.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
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

impl EventKind {
    fn as_str(self) -> &'static str {
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
