//! The counters of a node, for `/metrics` and `/status`. Names follow the Prometheus conventions.
//!
//! All names begin with `tidings_`. [`Throttle`] bounds log lines, and [`chain()`] formats the
//! causes of an error.
//!
//! Read first: [`Metrics`].
//!
//! This crate must never know what it counts: labels are strings. It depends on no other crate of
//! ours.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

mod chain;
mod forward;
mod throttle;

pub use chain::chain;
pub use forward::{ForwardMetrics, ForwardOutcome};
pub use throttle::Throttle;

/// Whether an event is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A live event, without an entry in the log.
    Live,
    /// A durable event.
    Logged,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Counters with one label, the reason.
type ByReason = Family<ReasonLabel, Counter>;

/// Holds the counters and gauges of a node, from the start of the process.
pub struct Metrics {
    registry: Registry,
    /// Open connections on the public listener.
    pub connections: Gauge,
    /// Connections accepted on the public listener.
    pub connections_accepted: Counter,
    /// Connections to which the engine writes.
    pub handed_off: Gauge,
    /// Subscribers in workspaces.
    pub subscribers: Gauge,
    /// Workspaces that the node holds, with those that linger.
    pub workspaces: Gauge,
    /// Bytes of all rings.
    pub ring_bytes: Gauge,
    /// Bytes of log pages in memory.
    pub replay_bytes: Gauge,
    /// Bytes of events in the engine's buffers.
    pub unsent_bytes: Gauge,
    /// Events that were written to streams.
    pub deliveries: Counter,
    /// Bytes that were written to streams.
    pub delivered_bytes: Counter,
    /// Calls that wrote to sockets of the public listener.
    pub socket_writes: Counter,
    /// Events published through this node's HTTP interface.
    pub published: Counter,
    /// Publications over HTTP that failed.
    pub publish_failures: Counter,
    /// Commands of the control channel that the node carried out.
    pub control_commands: Counter,
    /// Messages of the control channel that are not a valid command.
    pub control_commands_invalid: Counter,
    /// The decisions of the app.
    pub forward: ForwardMetrics,
    /// Fetches of the key set for tokens.
    pub jwks_fetches: Counter,
    /// Fetches of the key set for tokens that failed.
    pub jwks_fetch_failures: Counter,
    /// The time at which the certificate of the public listener expires, in seconds since 1970; 0
    /// without TLS.
    pub tls_not_after: Gauge,
    /// Log lines that could not be written.
    pub log_lines_dropped: Counter,
    events: Family<KindLabel, Counter>,
    dropped: ByReason,
    resets: ByReason,
    reconnects: ByReason,
    refusals: ByReason,
    denials: ByReason,
}

impl Metrics {
    /// Creates all counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tidings");
        let connections = Gauge::default();
        registry.register("connections", "Open connections on the public listener", connections.clone());
        let connections_accepted = Counter::default();
        registry.register(
            "connections_accepted",
            "Connections accepted on the public listener",
            connections_accepted.clone(),
        );
        let handed_off = Gauge::default();
        registry.register(
            "connections_handed_off",
            "Open connections that the engine writes to, beside the HTTP server",
            handed_off.clone(),
        );
        let subscribers = Gauge::default();
        registry.register("subscribers", "Subscribers in workspaces", subscribers.clone());
        let workspaces = Gauge::default();
        registry.register(
            "workspaces",
            "Workspaces that the node holds, with those that linger",
            workspaces.clone(),
        );
        let ring_bytes = Gauge::default();
        registry.register("ring_bytes", "Bytes of the rings of all workspaces", ring_bytes.clone());
        let replay_bytes = Gauge::default();
        registry.register("replay_bytes", "Bytes of logs in memory for replays", replay_bytes.clone());
        let unsent_bytes = Gauge::default();
        registry.register(
            "unsent_bytes",
            "Bytes of buffers with events for streams that have not received them",
            unsent_bytes.clone(),
        );
        let deliveries = Counter::default();
        registry.register("deliveries", "Events written to streams", deliveries.clone());
        let delivered_bytes = Counter::default();
        registry.register("delivered_bytes", "Bytes written to streams", delivered_bytes.clone());
        let socket_writes = Counter::default();
        registry.register(
            "socket_writes",
            "Calls that wrote to sockets of the public listener",
            socket_writes.clone(),
        );
        let published = Counter::default();
        registry.register("published", "Events published over HTTP", published.clone());
        let publish_failures = Counter::default();
        registry.register("publish_failures", "Publications over HTTP that failed", publish_failures.clone());
        let tls_not_after = Gauge::default();
        registry.register(
            "tls_certificate_not_after_seconds",
            "When the certificate of the public listener expires, since 1970; 0 without TLS",
            tls_not_after.clone(),
        );
        let log_lines_dropped = Counter::default();
        registry.register(
            "log_lines_dropped",
            "Log lines that could not be written",
            log_lines_dropped.clone(),
        );
        let control_commands = Counter::default();
        registry.register("orders", "Disconnects that the node carried out", control_commands.clone());
        let control_commands_invalid = Counter::default();
        registry.register(
            "orders_refused",
            "Messages on the control channel that are not a valid disconnect",
            control_commands_invalid.clone(),
        );
        let forward = ForwardMetrics::registered(&mut registry);
        let jwks_fetches = Counter::default();
        registry.register("jwks_fetches", "Fetches of the key set for tokens", jwks_fetches.clone());
        let jwks_fetch_failures = Counter::default();
        registry.register(
            "jwks_fetch_failures",
            "Fetches of the key set for tokens that failed",
            jwks_fetch_failures.clone(),
        );
        let events = Family::default();
        registry.register("events", "Events that arrived from the bus", events.clone());
        let dropped = ByReason::default();
        registry.register("events_dropped", "Events that the node dropped", dropped.clone());
        let resets = ByReason::default();
        registry.register("resets", "Resets, by the reason for which events may be missing", resets.clone());
        let reconnects = ByReason::default();
        registry.register(
            "reconnects",
            "Streams that the node ended with a request to reconnect",
            reconnects.clone(),
        );
        let refusals = ByReason::default();
        registry.register("refusals", "Connections, streams and bodies beyond a limit", refusals.clone());
        let denials = ByReason::default();
        registry.register(
            "denials",
            "Requests that authentication rejected, by the check that failed",
            denials.clone(),
        );
        Self {
            registry,
            connections,
            connections_accepted,
            handed_off,
            subscribers,
            workspaces,
            ring_bytes,
            replay_bytes,
            unsent_bytes,
            deliveries,
            delivered_bytes,
            socket_writes,
            published,
            publish_failures,
            control_commands,
            control_commands_invalid,
            forward,
            jwks_fetches,
            jwks_fetch_failures,
            tls_not_after,
            log_lines_dropped,
            events,
            dropped,
            resets,
            reconnects,
            refusals,
            denials,
        }
    }

    /// Counts an event from the bus.
    pub fn count_event(&self, kind: EventKind) {
        self.events.get_or_create(&KindLabel { kind: kind.as_str() }).inc();
    }

    /// Counts a connection, stream or body beyond the limit that `reason` names.
    pub fn count_refusal(&self, reason: &'static str) {
        self.refusals.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts an event that the node dropped.
    pub fn count_dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a reset.
    pub fn count_reset(&self, reason: &'static str) {
        self.resets.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a stream that the node ended with a request to reconnect.
    pub fn count_reconnect(&self, reason: &'static str) {
        self.reconnects.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a request that authentication rejected.
    pub fn count_denial(&self, reason: &'static str) {
        self.denials.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Returns the number of events of a kind from the bus.
    #[must_use]
    pub fn events(&self, kind: EventKind) -> u64 {
        self.events.get_or_create(&KindLabel { kind: kind.as_str() }).get()
    }

    /// Returns the number of events that were dropped for a reason.
    #[must_use]
    pub fn dropped(&self, reason: &'static str) -> u64 {
        self.dropped.get_or_create(&ReasonLabel { reason }).get()
    }

    /// Returns the number of resets for a reason.
    #[must_use]
    pub fn resets(&self, reason: &'static str) -> u64 {
        self.resets.get_or_create(&ReasonLabel { reason }).get()
    }

    /// Returns the number of streams that the node ended for a reason.
    #[must_use]
    pub fn reconnects(&self, reason: &'static str) -> u64 {
        self.reconnects.get_or_create(&ReasonLabel { reason }).get()
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

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub struct Counted(Arc<Metrics>);

impl Counted {
    /// Counts an accepted connection.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        metrics.connections.inc();
        metrics.connections_accepted.inc();
        Self(metrics)
    }

    /// Returns the counter of writes to which the connection adds.
    #[must_use]
    pub fn writes(&self) -> Counter {
        self.0.socket_writes.clone()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.dec();
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
mod tests {
    use super::*;

    #[test]
    fn encoded_text_has_the_counted_values() {
        let metrics = Metrics::new();
        metrics.count_event(EventKind::Live);
        metrics.count_reset("interrupted");
        metrics.subscribers.inc();
        let text = metrics.encode().unwrap();
        assert!(text.contains("tidings_events_total{kind=\"live\"} 1\n"), "{text}");
        assert!(text.contains("tidings_resets_total{reason=\"interrupted\"} 1\n"), "{text}");
        assert!(text.contains("tidings_subscribers 1\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(metrics.events(EventKind::Live), 1);
    }
}
