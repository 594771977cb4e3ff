//! Primaries fail, and their replicas take over. Replication is asynchronous: acknowledged events
//! may be lost with the old primary.

use std::time::Duration;

use super::{RECOVERY, forgetful, open};
use crate::support::eventually;

/// The replica of each primary takes over.
async fn planned(name: &str, way: &str) {
    let (cluster, setup) = open(name, forgetful()).await;
    setup.more(20).await;
    for primary in 0..3 {
        cluster.fail_over(primary + 3, way).await;
        setup.more_within(20, RECOVERY).await;
    }
    cluster.is_whole().await;
    setup.more_within(20, RECOVERY).await;
    setup.close_after_loss_of(&cluster).await;
}

#[tokio::test]
async fn planned_failovers() {
    planned("cluster, CLUSTER FAILOVER", "").await;
}

#[tokio::test]
async fn forced_failovers() {
    planned("cluster, CLUSTER FAILOVER FORCE", "FORCE").await;
}

#[tokio::test]
async fn takeovers() {
    planned("cluster, CLUSTER FAILOVER TAKEOVER", "TAKEOVER").await;
}

#[tokio::test]
async fn a_primary_is_killed_and_returns() {
    let (mut cluster, setup) = open("cluster, kill -9 of a primary and its return", forgetful()).await;
    setup.more(20).await;
    cluster.servers[0].stop();
    cluster.is_primary(3).await;
    setup.more_within(20, RECOVERY).await;
    cluster.servers[0].restart().await;
    cluster.is_whole().await;
    setup.more_within(20, RECOVERY).await;
    setup.close_after_loss_of(&cluster).await;
}

/// The old primary keeps its links and does not know of its successor.
#[tokio::test]
async fn a_primary_freezes_and_returns() {
    let (cluster, setup) = open("cluster, SIGSTOP of a primary and its return", forgetful()).await;
    setup.more(20).await;
    cluster.servers[1].freeze();
    cluster.is_primary(4).await;
    setup.more_within(20, RECOVERY).await;
    cluster.servers[1].thaw();
    cluster.is_whole().await;
    setup.more_within(20, RECOVERY).await;
    setup.close_after_loss_of(&cluster).await;
}

#[tokio::test]
async fn all_servers_are_restarted() {
    let (mut cluster, setup) = open("cluster, restart of all servers", forgetful()).await;
    setup.more(20).await;
    for server in &mut cluster.servers {
        server.launch();
    }
    cluster.is_whole().await;
    setup.more_within(20, RECOVERY).await;
    setup.close_after_loss_of(&cluster).await;
}

/// Without full coverage the other shards go on, and the nodes remain ready.
#[tokio::test]
async fn one_shard_is_lost() {
    use tidings_testkit::RedisCluster;
    use tidings_testkit::ledger::Setup;

    let mut cluster = RedisCluster::start_with(&["cluster-require-full-coverage no"]).await;
    let setup = Setup::open_cluster("cluster, one shard lost", forgetful(), &cluster).await;
    setup.more(20).await;
    let before: Vec<_> = setup.publishers.iter().map(|publisher| publisher.acknowledged()).collect();
    // The workspace ledger-2 is on the first primary alone.
    cluster.servers[0].stop();
    cluster.servers[3].stop();
    for at in [0, 1, 3] {
        eventually("other shards go on", RECOVERY, async || {
            setup.publishers[at].acknowledged() > before[at] + 30
        })
        .await;
    }
    eventually("the nodes are ready", RECOVERY, async || {
        setup.brokers[0].is_ready().await && setup.brokers[1].is_ready().await
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.servers[0].restart().await;
    cluster.servers[3].restart().await;
    cluster.is_whole().await;
    setup.more_within(20, RECOVERY).await;
    setup.close_after_loss_of(&cluster).await;
}
