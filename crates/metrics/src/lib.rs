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

/// Whether an event stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Published without the log.
    Live,
    /// Logged.
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

/// How a connection or stream ended, and why an event was dropped: a label each.
type ByReason = Family<ReasonLabel, Counter>;

/// The counters and gauges of a node. They count from the start of the process.
pub struct Metrics {
    registry: Registry,
    /// Open connections on the public listener.
    pub connections: Gauge,
    /// Connections accepted on the public listener.
    pub connections_accepted: Counter,
    /// Connections that the engine writes to.
    pub handed_off: Gauge,
    /// Subscribers in workspaces.
    pub subscribers: Gauge,
    /// Workspaces held, lingering ones included.
    pub workspaces: Gauge,
    /// Bytes of recent events in memory.
    pub ring_bytes: Gauge,
    /// Bytes of pages of logs in memory.
    pub replay_bytes: Gauge,
    /// Events handed to streams.
    pub deliveries: Counter,
    /// Bytes handed to streams.
    pub delivered_bytes: Counter,
    /// Calls that wrote to sockets of the public listener.
    pub socket_writes: Counter,
    /// Events published through this node's HTTP interface.
    pub published: Counter,
    /// Publishes through HTTP that failed.
    pub publish_failures: Counter,
    /// Orders of backends that were carried out.
    pub orders: Counter,
    /// Orders of backends that were not understood.
    pub orders_refused: Counter,
    /// The app's decisions.
    pub forward: ForwardMetrics,
    /// Times that the keys for tokens were fetched.
    pub jwks_fetches: Counter,
    /// Times that the keys for tokens could not be fetched.
    pub jwks_fetch_failures: Counter,
    /// When the certificate of the public listener ends, in seconds since 1970; 0 without TLS.
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
    /// All counters at zero.
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
            "Open connections that the delivery engine writes to, beside the HTTP server",
            handed_off.clone(),
        );
        let subscribers = Gauge::default();
        registry.register("subscribers", "Subscribers in workspaces", subscribers.clone());
        let workspaces = Gauge::default();
        registry.register("workspaces", "Workspaces held, lingering ones included", workspaces.clone());
        let ring_bytes = Gauge::default();
        registry.register(
            "ring_bytes",
            "Bytes of recent events in memory, all workspaces together",
            ring_bytes.clone(),
        );
        let replay_bytes = Gauge::default();
        registry.register(
            "replay_bytes",
            "Bytes of logs in memory that clients which come back read",
            replay_bytes.clone(),
        );
        let deliveries = Counter::default();
        registry.register("deliveries", "Events handed to streams", deliveries.clone());
        let delivered_bytes = Counter::default();
        registry.register("delivered_bytes", "Bytes handed to streams", delivered_bytes.clone());
        let socket_writes = Counter::default();
        registry.register(
            "socket_writes",
            "Calls that wrote to sockets of the public listener",
            socket_writes.clone(),
        );
        let published = Counter::default();
        registry.register("published", "Events published through HTTP", published.clone());
        let publish_failures = Counter::default();
        registry.register("publish_failures", "Publishes through HTTP that failed", publish_failures.clone());
        let tls_not_after = Gauge::default();
        registry.register(
            "tls_certificate_not_after_seconds",
            "When the certificate of the public listener ends, since 1970; 0 without TLS",
            tls_not_after.clone(),
        );
        let log_lines_dropped = Counter::default();
        registry.register(
            "log_lines_dropped",
            "Log lines that could not be written",
            log_lines_dropped.clone(),
        );
        let orders = Counter::default();
        registry.register("orders", "Orders of backends that were carried out", orders.clone());
        let orders_refused = Counter::default();
        registry.register(
            "orders_refused",
            "Orders of backends that were not understood",
            orders_refused.clone(),
        );
        let forward = ForwardMetrics::registered(&mut registry);
        let jwks_fetches = Counter::default();
        registry.register(
            "jwks_fetches",
            "Times that the keys for tokens were fetched",
            jwks_fetches.clone(),
        );
        let jwks_fetch_failures = Counter::default();
        registry.register(
            "jwks_fetch_failures",
            "Times that the keys for tokens could not be fetched",
            jwks_fetch_failures.clone(),
        );
        let events = Family::default();
        registry.register("events", "Events that arrived from the bus", events.clone());
        let dropped = ByReason::default();
        registry.register("events_dropped", "Events that could not be delivered", dropped.clone());
        let resets = ByReason::default();
        registry.register(
            "resets",
            "Times that subscribers were told that events may be missing",
            resets.clone(),
        );
        let reconnects = ByReason::default();
        registry.register(
            "reconnects",
            "Streams that the node ended, asking to come back",
            reconnects.clone(),
        );
        let refusals = ByReason::default();
        registry.register("refusals", "Clients turned away at a limit, for now", refusals.clone());
        let denials = ByReason::default();
        registry.register("denials", "Requests that were not let in, by the check", denials.clone());
        Self {
            registry,
            connections,
            connections_accepted,
            handed_off,
            subscribers,
            workspaces,
            ring_bytes,
            replay_bytes,
            deliveries,
            delivered_bytes,
            socket_writes,
            published,
            publish_failures,
            orders,
            orders_refused,
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

    /// An event arrived.
    pub fn count_event(&self, kind: EventKind) {
        self.events.get_or_create(&KindLabel { kind: kind.as_str() }).inc();
    }

    /// Somebody was not let in, for being beyond the bound that `reason` names.
    pub fn count_refusal(&self, reason: &'static str) {
        self.refusals.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// An event could not be delivered.
    pub fn count_dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Subscribers were told that something may be missing.
    pub fn count_reset(&self, reason: &'static str) {
        self.resets.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A stream was ended with the wish that the client come back.
    pub fn count_reconnect(&self, reason: &'static str) {
        self.reconnects.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A request was not let in.
    pub fn count_denial(&self, check: &'static str) {
        self.denials.get_or_create(&ReasonLabel { reason: check }).inc();
    }

    /// How many events of a kind arrived.
    #[must_use]
    pub fn events(&self, kind: EventKind) -> u64 {
        self.events.get_or_create(&KindLabel { kind: kind.as_str() }).get()
    }

    /// How many events were dropped for a reason.
    #[must_use]
    pub fn dropped(&self, reason: &'static str) -> u64 {
        self.dropped.get_or_create(&ReasonLabel { reason }).get()
    }

    /// How often something was reset for a reason.
    #[must_use]
    pub fn resets(&self, reason: &'static str) -> u64 {
        self.resets.get_or_create(&ReasonLabel { reason }).get()
    }

    /// How many streams were ended for a reason.
    #[must_use]
    pub fn reconnects(&self, reason: &'static str) -> u64 {
        self.reconnects.get_or_create(&ReasonLabel { reason }).get()
    }

    /// The Prometheus text form (OpenMetrics 1.0).
    ///
    /// # Errors
    ///
    /// Only when a metric cannot write itself, which none of these does.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A connection that counts as open while this lives.
#[derive(Debug)]
pub struct Counted(Arc<Metrics>);

impl Counted {
    /// A connection that was accepted just now.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        metrics.connections.inc();
        metrics.connections_accepted.inc();
        Self(metrics)
    }

    /// The count of writes that it takes part in.
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
    fn writes_what_was_counted() {
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
