//! One broker process as others see it: its name, its state, and whether it wants clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use tidings_bus::{Bus, BusState, LinkState};
use tidings_event::NodeId;
use tidings_event::control::{ReconnectReason, ResetReason};
use tidings_metrics::{EventKind, Metrics};

/// The number of probe intervals without a returned probe after which a node is not ready.
const PROBES_MISSED_MAX: u32 = 3;

/// A broker process.
pub struct Node {
    id: NodeId,
    began: Instant,
    bus: Arc<dyn Bus>,
    metrics: Arc<Metrics>,
    /// The longest time without a message of the bus.
    silence_max: Duration,
    draining: AtomicBool,
}

impl Node {
    /// A node that has just started. `probe` is the interval at which the bus is probed.
    #[must_use]
    pub fn new(id: NodeId, bus: Arc<dyn Bus>, metrics: Arc<Metrics>, probe: Duration) -> Self {
        let silence_max = probe * PROBES_MISSED_MAX;
        Self { id, began: Instant::now(), bus, metrics, silence_max, draining: AtomicBool::new(false) }
    }

    /// The node is going away: it is not ready from now on.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why the node should not be sent clients; empty when it should.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        unready(&self.bus.state(), self.draining.load(Ordering::Relaxed), self.silence_max)
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// All that is known of the node, for people and their tools.
    #[must_use]
    pub fn status(&self) -> Value {
        let bus = self.bus.state();
        let metrics = &self.metrics;
        let (refused, refused_reason) =
            bus.refused.map_or((0, None), |(count, reason)| (count, Some(reason)));
        let (link, error) = match bus.link {
            LinkState::Down { error } => ("down", Some(error)),
            LinkState::Resubscribing => ("resubscribing", None),
            LinkState::Up => ("up", None),
        };
        let unready = self.unready();
        json!({
            "node": self.id.as_str(),
            "version": env!("CARGO_PKG_VERSION"),
            "uptimeSeconds": self.began.elapsed().as_secs(),
            "ready": unready.is_empty(),
            "notReadyBecause": unready,
            "bus": {
                "kind": bus.kind,
                "server": bus.server,
                "publishFunction": bus.function,
                "state": link,
                "since": rfc3339(bus.since),
                "error": error,
                "interruptions": bus.interruptions,
                "heardSecondsAgo": bus.heard.map(|age| age.as_secs_f64()),
                "probeRefused": bus.probe_refused,
                "subscriptionRefused": bus.subscription_refused,
                "controlRefused": bus.control_refused,
                "refusedWorkspaces": refused,
                "refusedReason": refused_reason,
            },
            "certificateNotAfter": not_after(metrics.tls_not_after.get()),
            "connections": metrics.connections.get(),
            "subscribers": metrics.subscribers.get(),
            "workspaces": metrics.workspaces.get(),
            "counters": {
                "connectionsAccepted": metrics.connections_accepted.get(),
                "eventsLive": metrics.events(EventKind::Live),
                "eventsLogged": metrics.events(EventKind::Logged),
                "eventsDropped": by(&ResetReason::OF_DROPS, ResetReason::as_str, |reason| metrics.dropped(reason.as_str())),
                "deliveries": metrics.deliveries.get(),
                "deliveredBytes": metrics.delivered_bytes.get(),
                "published": metrics.published.get(),
                "publishFailures": metrics.publish_failures.get(),
                "resets": by(&ResetReason::ALL, ResetReason::as_str, |reason| metrics.resets(reason.as_str())),
                "reconnects": by(&ReconnectReason::ALL, ReconnectReason::as_str, |reason| metrics.reconnects(reason.as_str())),
            },
        })
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A count for each reason, by its name.
fn by<R: Copy>(reasons: &[R], name: fn(R) -> &'static str, count: impl Fn(R) -> u64) -> Value {
    reasons
        .iter()
        .map(|&reason| (name(reason).to_owned(), Value::from(count(reason))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// When the certificate ends, where there is one.
fn not_after(seconds: i64) -> Option<String> {
    let seconds = u64::try_from(seconds).ok().filter(|&seconds| seconds > 0)?;
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn rfc3339(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time).ok().map(|time| time.to_string())
}

/// Why a node in this state should not be sent clients.
fn unready(bus: &BusState, draining: bool, silence_max: Duration) -> Vec<String> {
    let mut reasons = Vec::new();
    if draining {
        reasons.push("the node is draining".to_owned());
    }
    match &bus.link {
        LinkState::Down { error } => reasons.push(format!("no link to the bus: {error}")),
        LinkState::Resubscribing => reasons.push("subscriptions are being made again".to_owned()),
        LinkState::Up => match bus.heard {
            _ if bus.subscription_refused.is_some() => {}
            Some(age) if age <= silence_max => {}
            Some(age) => {
                reasons.push(format!("no probe has returned through the bus for {:.1} s", age.as_secs_f64()))
            }
            None => reasons.push("no probe has returned through the bus yet".to_owned()),
        },
    }
    if let Some(reason) = &bus.subscription_refused {
        reasons.push(format!("the bus refuses subscriptions: {reason}"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(heard: Option<u64>) -> BusState {
        BusState {
            kind: "redis",
            link: LinkState::Up,
            since: SystemTime::UNIX_EPOCH,
            interruptions: 0,
            refused: None,
            heard: heard.map(Duration::from_secs),
            probe_refused: None,
            subscription_refused: None,
            control_refused: None,
            server: None,
            function: None,
        }
    }

    #[test]
    fn ready_only_when_messages_come_back() {
        let silence_max = Duration::from_secs(6);
        assert!(unready(&up(Some(1)), false, silence_max).is_empty());
        assert_eq!(
            unready(&up(Some(7)), false, silence_max),
            ["no probe has returned through the bus for 7.0 s"]
        );
        assert_eq!(unready(&up(None), false, silence_max), ["no probe has returned through the bus yet"]);
        assert_eq!(unready(&up(Some(1)), true, silence_max), ["the node is draining"]);
        let down = BusState { link: LinkState::Down { error: "refused".to_owned() }, ..up(Some(1)) };
        assert_eq!(unready(&down, false, silence_max), ["no link to the bus: refused"]);
        let deaf = BusState { subscription_refused: Some("NOPERM x".to_owned()), ..up(Some(1)) };
        assert_eq!(unready(&deaf, false, silence_max), ["the bus refuses subscriptions: NOPERM x"]);
        let one = BusState { refused: Some((1, "NOPERM x".to_owned())), ..up(Some(1)) };
        assert!(
            unready(&one, false, silence_max).is_empty(),
            "any client can ask for a workspace that is not allowed"
        );
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH).unwrap(), "1970-01-01T00:00:00Z");
    }
}
