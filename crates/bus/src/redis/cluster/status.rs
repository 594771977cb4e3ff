//! The state of the bus, composed from its shards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::refresher::Latest;
use super::shard::{ClusterShard, ShardLinkState, ShardStatus};
use super::topology::Topology;
use crate::{BusState, ClusterState, LinkState, ShardState};
use tidings_metrics::Metrics;

/// The age of the topology from which the node is not ready.
const TOPOLOGY_AGE_MAX: Duration = Duration::from_secs(10);

/// A shard's status, with what the topology says of its server.
pub(super) struct FoundShard {
    id: String,
    server: String,
    is_failed: bool,
    status: ShardStatus,
}

/// Returns the shards and their states.
pub(super) fn shards(shards: &[Arc<ClusterShard>], topology: Option<&Topology>) -> Vec<FoundShard> {
    let found = |shard: &Arc<ClusterShard>| FoundShard {
        id: shard.id.to_string(),
        server: shard.server.borrow().to_string(),
        is_failed: topology
            .and_then(|topology| topology.servers.get(&shard.id))
            .is_none_or(|server| server.is_failed),
        status: shard.status.lock().clone(),
    };
    shards.iter().map(found).collect()
}

/// Returns the state of all links together. A shard that the cluster itself reports as failed does
/// not count as long as another one is up: all nodes lack it.
pub(super) fn link(shards: &[FoundShard], latest: &Latest) -> LinkState {
    let Some(topology) = &latest.topology else {
        return LinkState::Down { error: "no server of the cluster reports its topology".to_owned() };
    };
    let age = latest.at.elapsed();
    if age > TOPOLOGY_AGE_MAX {
        return LinkState::Down {
            error: format!("no server of the cluster has reported its topology for {} s", age.as_secs()),
        };
    }
    if topology.owners().is_empty() {
        return LinkState::Down { error: "no server of the cluster has slots".to_owned() };
    }
    let is_up = |found: &&FoundShard| found.status.link == ShardLinkState::Up;
    if !shards.iter().any(|found| is_up(&found)) {
        let error = shards.iter().find_map(|found| match &found.status.link {
            ShardLinkState::Down(error) => Some(format!("{}: {error}", found.server)),
            _ => None,
        });
        return error.map_or(LinkState::Resubscribing, |error| LinkState::Down { error });
    }
    if shards.iter().filter(|found| !found.is_failed).all(|found| is_up(&found)) {
        LinkState::Up
    } else {
        LinkState::Resubscribing
    }
}

/// Adds what the shards report.
pub(super) fn compose(state: BusState, shards: Vec<FoundShard>, latest: &Latest, now: Instant) -> BusState {
    let first =
        |of: fn(&ShardStatus) -> Option<&String>| shards.iter().find_map(|found| of(&found.status).cloned());
    let refused: usize =
        shards.iter().filter_map(|found| found.status.refused.as_ref()).map(|(count, _)| count).sum();
    let reason =
        shards.iter().find_map(|found| found.status.refused.as_ref().map(|(_, reason)| reason.clone()));
    let differences = shards.iter().filter_map(|found| found.status.clock_difference);
    let clock_difference = differences.max_by(|one, other| one.abs().total_cmp(&other.abs()));
    let age = |at: Instant| now.saturating_duration_since(at);
    let of_healthy =
        || shards.iter().filter(|found| !found.is_failed && found.status.link == ShardLinkState::Up);
    // The oldest: each shard has to deliver.
    let last_received = of_healthy().map(|found| found.status.received_at.map_or(Duration::MAX, age)).max();
    BusState {
        refused: reason.map(|reason| (refused, reason)),
        last_received,
        clock_difference,
        probe_refused: first(|status| status.probe_refused.as_ref()),
        subscription_refused: first(|status| status.subscription_refused.as_ref()),
        control_refused: first(|status| status.control_refused.as_ref()),
        server: first(|status| status.server_name.as_ref()),
        function: first(|status| status.function.as_ref()),
        cluster: Some(ClusterState {
            topology_age: latest.topology.is_some().then(|| age(latest.at.into_std())),
            slots_uncovered: latest.topology.as_ref().map_or(0, |topology| topology.uncovered()),
            slots_migrating: latest.topology.as_ref().map_or(0, |topology| topology.migrating.len()),
            shards: shards.into_iter().map(|found| shard_state(found, now)).collect(),
        }),
        ..state
    }
}

fn shard_state(found: FoundShard, now: Instant) -> ShardState {
    let FoundShard { id, server, is_failed, status } = found;
    ShardState {
        id,
        server,
        is_failed,
        link: match status.link {
            ShardLinkState::Down(error) => LinkState::Down { error },
            ShardLinkState::Subscribing => LinkState::Resubscribing,
            ShardLinkState::Up => LinkState::Up,
        },
        wanted: status.wanted,
        confirmed: status.confirmed,
        last_received: status.received_at.map(|at| now.saturating_duration_since(at)),
    }
}

/// Records the gauges.
pub(super) fn record(metrics: &Metrics, shards: &[FoundShard], topology_age: Duration) {
    let count = |of: fn(&ShardStatus) -> usize| {
        i64::try_from(shards.iter().map(|found| of(&found.status)).sum::<usize>()).unwrap_or(i64::MAX)
    };
    metrics.cluster_wanted.set(count(|status| status.wanted));
    metrics.cluster_confirmed.set(count(|status| status.confirmed));
    let up = shards.iter().filter(|found| found.status.link == ShardLinkState::Up).count();
    metrics.cluster_shards_up.set(i64::try_from(up).unwrap_or(i64::MAX));
    metrics.cluster_topology_age.set(i64::try_from(topology_age.as_secs()).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests;
