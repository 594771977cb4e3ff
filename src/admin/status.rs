//! The document of `/status`.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::node::Node;
use crate::build;
use crate::http::refusal_reasons;
use tidings_auth::DenialReason;
use tidings_bus::{ClusterState, LinkState};
use tidings_event::control::{ReconnectReason, ResetReason};
use tidings_metrics::EventKind;

impl Node {
    /// Returns the state of the node, its bus and its counters.
    #[must_use]
    pub fn status(&self) -> Value {
        let bus = self.bus.state();
        let metrics = self.metrics();
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
            "version": build::VERSION,
            "commit": build::COMMIT,
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
                "lastReceivedSecondsAgo": bus.last_received.map(|age| age.as_secs_f64()),
                "probeRefused": bus.probe_refused,
                "subscriptionRefused": bus.subscription_refused,
                "controlRefused": bus.control_refused,
                "bansRefused": bus.bans_refused,
                "refusedWorkspaces": refused,
                "refusedReason": refused_reason,
                "cluster": bus.cluster.as_ref().map(cluster),
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
                "refusals": by(&refusal_reasons(), |reason| reason, |reason| metrics.refusals(reason)),
                "denials": by(&DenialReason::ALL, DenialReason::as_str, |reason| metrics.denials(reason.as_str())),
            },
        })
    }
}

/// Returns the shards of a cluster.
fn cluster(cluster: &ClusterState) -> Value {
    let shards = cluster.shards.iter().map(|shard| {
        let (link, error) = match &shard.link {
            LinkState::Down { error } => ("down", Some(error)),
            LinkState::Resubscribing => ("resubscribing", None),
            LinkState::Up => ("up", None),
        };
        json!({
            "id": shard.id,
            "server": shard.server,
            "failed": shard.is_failed,
            "state": link,
            "error": error,
            "workspacesWanted": shard.wanted,
            "workspacesConfirmed": shard.confirmed,
            "lastReceivedSecondsAgo": shard.last_received.map(|age| age.as_secs_f64()),
        })
    });
    json!({
        "topologyAgeSeconds": cluster.topology_age.map(|age| age.as_secs_f64()),
        "slotsWithoutPrimary": cluster.slots_uncovered,
        "slotsMigrating": cluster.slots_migrating,
        "shards": shards.collect::<Vec<_>>(),
    })
}

/// Returns the count of each reason by the reason's name.
pub(super) fn by<R: Copy>(reasons: &[R], name: fn(R) -> &'static str, count: impl Fn(R) -> u64) -> Value {
    reasons
        .iter()
        .map(|&reason| (name(reason).to_owned(), Value::from(count(reason))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Returns the end of the certificate's validity, if there is a certificate.
fn not_after(seconds: i64) -> Option<String> {
    let seconds = u64::try_from(seconds).ok().filter(|&seconds| seconds > 0)?;
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

pub(super) fn rfc3339(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_as_rfc_3339() {
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH).unwrap(), "1970-01-01T00:00:00Z");
    }
}
