//! Two servers call themselves the primary of the same slots. Nodes and publishers reach both.

use std::time::Duration;

use tidings_testkit::ledger::Setup;
use tidings_testkit::{RedisCluster, SplitEpochs};
use tokio::time::{Instant, sleep};

use super::{RECOVERY, hopping, open};
use crate::support::eventually;

/// The primary of one workspace, and its replica. The replica has not the highest epoch of all
/// servers at the start, so its takeover raises the epoch.
const PAIR: [usize; 2] = [1, 4];

/// Limits the clusters until one has two primaries with one epoch.
const ATTEMPTS_MAX: u32 = 5;

/// How long both are primaries.
const SPLIT: Duration = Duration::from_secs(3);

/// For each broker, the servers of the pair that have workspaces of it.
async fn followed(cluster: &RedisCluster, setup: &Setup) -> Vec<Vec<usize>> {
    let mut followed = Vec::new();
    for broker in &setup.brokers {
        let status = broker.status().await;
        let shards = status["bus"]["cluster"]["shards"].as_array().cloned().unwrap_or_default();
        let has = |at: &usize| {
            let port = format!(":{}", cluster.servers[*at].port());
            shards.iter().any(|shard| {
                shard["server"].as_str().is_some_and(|server| server.ends_with(&port))
                    && shard["workspacesConfirmed"].as_u64() > Some(0)
            })
        };
        followed.push(PAIR.into_iter().filter(has).collect());
    }
    followed
}

/// All nodes follow `winner` for as long as both servers are primaries.
async fn nodes_follow(cluster: &RedisCluster, setup: &Setup, winner: usize) {
    let all = vec![vec![winner]; setup.brokers.len()];
    eventually("the nodes follow one server", RECOVERY, async || followed(cluster, setup).await == all).await;
    let end = Instant::now() + SPLIT;
    while Instant::now() < end {
        assert_eq!(followed(cluster, setup).await, all);
        sleep(Duration::from_millis(20)).await;
    }
    for at in PAIR {
        assert!(cluster.own_epoch(at).await.is_some(), "server {at} is no primary any more");
    }
}

async fn end(cluster: RedisCluster, setup: Setup) {
    setup.more_within(10, RECOVERY).await;
    cluster.meet(PAIR[0], PAIR[1]).await;
    cluster.is_whole().await;
    setup.more_within(20, RECOVERY).await;
    setup.close_after_loss_of(&cluster).await;
}

#[tokio::test]
async fn nodes_follow_the_higher_epoch() {
    let (cluster, setup) = open("cluster, two primaries with two epochs", hopping()).await;
    setup.more(20).await;
    cluster.split(PAIR[0], PAIR[1], SplitEpochs::Two).await;
    nodes_follow(&cluster, &setup, PAIR[1]).await;
    end(cluster, setup).await;
}

/// Redis raises the epoch of the server with the lower id as soon as the two know each other.
#[tokio::test]
async fn nodes_follow_the_lower_id_at_one_epoch() {
    for _ in 0..ATTEMPTS_MAX {
        let (cluster, setup) = open("cluster, two primaries with one epoch", hopping()).await;
        setup.more(20).await;
        cluster.split(PAIR[0], PAIR[1], SplitEpochs::One).await;
        let epochs = [cluster.own_epoch(PAIR[0]).await, cluster.own_epoch(PAIR[1]).await];
        if epochs[0] == epochs[1] {
            let [first, second] = [cluster.id(PAIR[0]).await, cluster.id(PAIR[1]).await];
            nodes_follow(&cluster, &setup, if first < second { PAIR[0] } else { PAIR[1] }).await;
            return end(cluster, setup).await;
        }
    }
    panic!("the servers never had one epoch");
}
