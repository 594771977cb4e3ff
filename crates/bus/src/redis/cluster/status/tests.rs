use super::super::scripted::{RecordedCalls, shared, topology};
use super::*;

/// Three primaries, and the first one has failed if `is_failed`.
fn latest(is_failed: bool) -> Latest {
    let mut latest = Latest::none();
    let mut topology = Topology::clone(&topology(1, &["0-5460", "5461-10922", "10923-16383"]));
    topology.servers.values_mut().next().unwrap().is_failed = is_failed;
    latest.topology = Some(Arc::new(topology));
    latest
}

/// The shards of a topology, with links in these states.
fn found(latest: &Latest, links: [ShardLinkState; 3]) -> Vec<FoundShard> {
    let shared = shared(Arc::<RecordedCalls>::default());
    let topology = latest.topology.as_deref().unwrap();
    let shard = |((id, place), link)| {
        let shard = ClusterShard::new(Arc::clone(id), shared.servers.at(place));
        shard.status.lock().link = link;
        Arc::new(shard)
    };
    let all: Vec<_> = topology.servers.iter().zip(links).map(shard).collect();
    shards(&all, Some(topology))
}

fn down() -> ShardLinkState {
    ShardLinkState::Down("away".to_owned())
}

fn error(link: LinkState) -> String {
    let LinkState::Down { error } = link else { panic!("{link:?}") };
    error
}

const UP: ShardLinkState = ShardLinkState::Up;
const SUBSCRIBING: ShardLinkState = ShardLinkState::Subscribing;

#[tokio::test]
async fn link_is_up_while_each_healthy_shard_is() {
    let healthy = latest(false);
    let of = |links| link(&found(&healthy, links), &healthy);
    assert_eq!(of([UP, UP, UP]), LinkState::Up);
    assert_eq!(of([down(), UP, UP]), LinkState::Resubscribing);
    assert_eq!(of([SUBSCRIBING, UP, UP]), LinkState::Resubscribing);
    assert_eq!(of([SUBSCRIBING, SUBSCRIBING, SUBSCRIBING]), LinkState::Resubscribing);
    assert_eq!(error(of([SUBSCRIBING, down(), SUBSCRIBING])), "127.0.0.1:2: away");
}

/// All nodes lack it. But a node without any link delivers nothing.
#[tokio::test]
async fn failed_shard_counts_only_without_another_one() {
    let failed = latest(true);
    let of = |links| link(&found(&failed, links), &failed);
    assert_eq!(of([down(), UP, UP]), LinkState::Up);
    assert_eq!(of([down(), UP, down()]), LinkState::Resubscribing);
    assert_eq!(error(of([down(), down(), down()])), "127.0.0.1:1: away");
}

#[tokio::test]
async fn shard_that_the_cluster_no_longer_lists_counts_as_failed() {
    let mut latest = latest(false);
    let shards_before = found(&latest, [down(), UP, UP]);
    assert!(shards_before.iter().all(|found| !found.is_failed));
    let mut fewer = Topology::clone(latest.topology.as_deref().unwrap());
    fewer.servers.pop_first();
    latest.topology = Some(Arc::new(fewer));
    let shared = shared(Arc::<RecordedCalls>::default());
    let place = topology(1, &["0-5460"]).servers.values().next().unwrap().clone();
    let gone = Arc::new(ClusterShard::new(format!("{:040}", 1).into(), shared.servers.at(&place)));
    assert!(shards(&[gone], latest.topology.as_deref())[0].is_failed);
}

#[tokio::test]
async fn link_is_down_without_a_current_topology() {
    let current = latest(false);
    let up = || found(&current, [UP, UP, UP]);
    assert_eq!(error(link(&up(), &Latest::none())), "no server of the cluster reports its topology");
    let mut old = current.clone();
    old.at -= TOPOLOGY_AGE_MAX + Duration::from_secs(1);
    let text = error(link(&up(), &old));
    assert!(text.contains("has reported its topology for 11 s"), "{text}");
    let mut empty = current.clone();
    empty.topology = Some(topology(1, &[""]));
    assert_eq!(error(link(&up(), &empty)), "no server of the cluster has slots");
}

/// Each shard has to deliver, so the oldest probe counts.
#[tokio::test]
async fn state_has_the_worst_of_the_shards() {
    let failed = latest(true);
    let mut shards = found(&failed, [UP, UP, UP]);
    let now = Instant::now() + Duration::from_secs(100);
    let at = |age| now.checked_sub(Duration::from_secs(age));
    for (found, (age, count, difference)) in
        shards.iter_mut().zip([(90, 1, Some(0.5)), (5, 2, Some(-3.0)), (7, 4, None)])
    {
        let status = &mut found.status;
        (status.received_at, status.clock_difference) = (at(age), difference);
        status.refused = Some((count, format!("reason {count}")));
    }
    shards[2].status.probe_refused = Some("no probes".to_owned());
    shards[2].status.control_refused = Some("no control".to_owned());
    shards[1].status.subscription_refused = Some("no channel".to_owned());
    let compose = |shards: &[FoundShard]| {
        let shards = shards.iter().map(|found| FoundShard {
            id: found.id.clone(),
            server: found.server.clone(),
            is_failed: found.is_failed,
            status: found.status.clone(),
        });
        compose(crate::StateCell::new("redis-cluster").snapshot(), shards.collect(), &failed, now)
    };
    let state = compose(&shards);
    assert_eq!(state.last_received, Some(Duration::from_secs(7)), "the first one has failed");
    assert_eq!(state.refused, Some((7, "reason 1".to_owned())));
    assert_eq!(state.clock_difference, Some(-3.0));
    assert_eq!(state.probe_refused.as_deref(), Some("no probes"));
    assert_eq!(state.control_refused.as_deref(), Some("no control"));
    assert_eq!(state.subscription_refused.as_deref(), Some("no channel"));
    let cluster = state.cluster.unwrap();
    assert_eq!((cluster.slots_uncovered, cluster.slots_migrating, cluster.shards.len()), (0, 0, 3));
    // A link that is up and has received nothing yet is older than any bound.
    shards[1].status.received_at = None;
    assert_eq!(compose(&shards).last_received, Some(Duration::MAX));
    // A link that is not up does not count: the state of the links says so.
    shards[1].status.link = down();
    assert_eq!(compose(&shards).last_received, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn gauges_sum_up_the_shards() {
    let latest = latest(false);
    let mut shards = found(&latest, [UP, down(), SUBSCRIBING]);
    for (found, count) in shards.iter_mut().zip([1, 2, 4]) {
        (found.status.wanted, found.status.confirmed) = (10 * count, count);
    }
    let metrics = Metrics::default();
    record(&metrics, &shards, Duration::from_secs(3));
    let numbers = [
        &metrics.cluster_wanted,
        &metrics.cluster_confirmed,
        &metrics.cluster_shards_up,
        &metrics.cluster_topology_age,
    ]
    .map(|gauge| gauge.get());
    assert_eq!(numbers, [70, 7, 1, 3]);
}
