//! Networks of a cluster: TLS with names, translated ports, and links that deliver nothing.

use std::sync::Arc;

use redis::Value;

use super::{WORKSPACES, client, receives};
use crate::support::commands::run_tidings;
use crate::support::tls::Certificates;
use crate::support::{
    Broker, BrokerOptions, ClusterNetwork, DEADLINE, RedisCluster, eventually, eventually_some,
};

const WORKSPACE: &str = WORKSPACES[1];
const CHANNEL: &str = "workspace:ledger-3";

/// Publishes and receives events before and after a failover of the workspace's primary.
async fn delivers_after_a_failover(cluster: &RedisCluster, broker: &Broker) {
    let mut client = client(broker, WORKSPACE).await;
    broker.publish(WORKSPACE, "before").await;
    receives(&mut client, "before").await;
    cluster.fail_over(4, "").await;
    cluster.servers[4].command::<Value>(&["FCALL", "tidings_publish", "1", CHANNEL, "at the server"]).await;
    receives(&mut client, "at the server").await;
    eventually_some("the node publishes", DEADLINE, async || broker.try_publish(WORKSPACE, "after").await)
        .await;
    receives(&mut client, "after").await;
    broker.ready().await;
}

/// The addresses of the shards, as the node names them.
async fn addresses(broker: &Broker) -> Vec<String> {
    let status = broker.status().await;
    let shards = status["bus"]["cluster"]["shards"].as_array().unwrap();
    shards.iter().map(|shard| shard["server"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn cluster_with_tls_is_reached_by_announced_names() {
    let certificates = Arc::new(Certificates::make());
    let cluster = RedisCluster::start_in(ClusterNetwork::Tls(Arc::clone(&certificates))).await;
    let (nodes, authority) = (cluster.urls(), certificates.authority.display().to_string());
    let settings = [("redis.cluster.nodes", nodes.as_str()), ("redis.tls.ca", authority.as_str())];
    run_tidings(&["check"], &settings).await.success();
    let unknown = run_tidings(&["check"], &settings[..1]).await;
    assert_eq!(unknown.code, Some(1), "no authority is known: {}", unknown.stdout);

    let options = BrokerOptions::cluster(&cluster).set("redis.tls.ca", &authority);
    let broker = Broker::start_ready(options).await;
    delivers_after_a_failover(&cluster, &broker).await;
    let addresses = addresses(&broker).await;
    assert!(addresses.iter().all(|address| address.starts_with("localhost:")), "{addresses:?}");
}

#[tokio::test]
async fn servers_behind_translated_ports_are_reached() {
    let cluster = RedisCluster::start_in(ClusterNetwork::Proxied).await;
    let broker = Broker::start_ready(BrokerOptions::cluster(&cluster)).await;
    delivers_after_a_failover(&cluster, &broker).await;
    let announced: Vec<_> =
        cluster.proxies.iter().map(|proxy| format!("127.0.0.1:{}", proxy.port())).collect();
    let addresses = addresses(&broker).await;
    assert!(addresses.iter().all(|address| announced.contains(address)), "{addresses:?}");
}

/// The link stays open and confirms, and no message comes: probes find out.
#[tokio::test]
async fn link_without_messages_is_replaced() {
    let cluster = RedisCluster::start_in(ClusterNetwork::Proxied).await;
    let options = BrokerOptions::cluster(&cluster)
        .set("redis.probe_seconds", 0.2)
        .set("redis.ping_timeout_seconds", 1)
        .set("sse.heartbeat_seconds", 0.5);
    let broker = Broker::start_ready(options).await;
    broker.publish(WORKSPACE, "first").await;
    let mut client = client(&broker, WORKSPACE).await;
    cluster.proxies[1].deafen();
    broker.publish(WORKSPACE, "second").await;
    receives(&mut client, "second").await;
    let lost = broker.metric("tidings_cluster_links_lost_total").await.unwrap();
    assert!(lost >= 1.0, "the link was given up");
    eventually("the new link delivers", DEADLINE, async || broker.is_ready().await).await;
    cluster.servers[1].command::<Value>(&["FCALL", "tidings_publish", "1", CHANNEL, "third"]).await;
    receives(&mut client, "third").await;
    assert!(client.events().iter().all(|event| event.kind != "tidings.reset"), "{:?}", client.events());
}
