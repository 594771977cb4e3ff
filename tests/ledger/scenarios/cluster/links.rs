//! Links are lost: of one shard, and between the servers of the cluster.

use std::collections::HashMap;

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
    for _ in 0..20 {
        for server in &cluster.servers {
            // Redis 7.0 crashes when the link to kill does not exist.
            let links: Vec<HashMap<String, Value>> = server.command(&["CLUSTER", "LINKS"]).await;
            for link in links.iter().filter(|link| text(link, "direction") == "to") {
                server.command::<Value>(&["DEBUG", "CLUSTERLINK", "KILL", "to", &text(link, "node")]).await;
            }
        }
        setup.more_within(3, RECOVERY).await;
    }
    let verdict = setup.close().await;
    assert!(verdict.resets.is_empty(), "durable events need no reset: {verdict}");
}

fn text(link: &HashMap<String, Value>, field: &str) -> String {
    redis::from_redis_value_ref(&link[field]).expect("a text")
}
