//! Links are lost: of one shard, and between the servers of the cluster.

use redis::Value;
use tidings_testkit::RedisCluster;
use tidings_testkit::ledger::Setup;

use super::{RECOVERY, links_lost, open, setting};
use crate::support::eventually;

/// The links of one primary are closed again and again. The other shards do not notice.
#[tokio::test]
async fn links_of_one_shard_are_killed() {
    let (cluster, setup) = open("cluster, CLIENT KILL of one shard's links", setting()).await;
    setup.more(20).await;
    for _ in 0..5 {
        let before = links_lost(&setup).await;
        let killed = cluster.servers[2].kill_subscribers().await;
        assert!(killed > 0, "no subscriber was connected");
        eventually("the brokers notice", RECOVERY, async || links_lost(&setup).await > before).await;
        setup.more_within(10, RECOVERY).await;
        eventually("the brokers are ready", RECOVERY, async || {
            setup.brokers[0].is_ready().await && setup.brokers[1].is_ready().await
        })
        .await;
    }
    for broker in &setup.brokers {
        let status = broker.status().await;
        let shards = status["bus"]["cluster"]["shards"].as_array().expect("shards").len();
        assert_eq!(shards, 3, "{status}");
    }
    let verdict = setup.close().await;
    assert!(verdict.resets.is_empty(), "durable events need no reset: {verdict}");
}

/// Messages between servers are lost with their links. No node relies on them.
#[tokio::test]
async fn links_between_servers_are_killed() {
    let cluster = RedisCluster::start_with(&["enable-debug-command yes"]).await;
    let setup = Setup::open_cluster("cluster, DEBUG CLUSTERLINK KILL", setting(), &cluster).await;
    setup.more(20).await;
    let mut ids = Vec::new();
    for server in 0..6 {
        ids.push(cluster.id(server).await);
    }
    for _ in 0..20 {
        for (at, server) in cluster.servers.iter().enumerate() {
            for id in ids.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, id)| id) {
                // Without a link at the moment there is none to kill.
                let _ = server.try_command::<Value>(&["DEBUG", "CLUSTERLINK", "KILL", "to", id]).await;
            }
        }
        setup.more_within(3, RECOVERY).await;
    }
    let verdict = setup.close().await;
    assert!(verdict.resets.is_empty(), "durable events need no reset: {verdict}");
}
