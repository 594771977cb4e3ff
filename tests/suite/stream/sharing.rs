//! One subscription for all subscribers of a workspace.

use crate::support::test_cluster::on_both_buses;
use crate::support::{Broker, BrokerOptions, Bus, Connect, DEADLINE, RedisServer, TestCluster, eventually};

on_both_buses!(workspaces_are_kept_apart, a_workspace_is_given_up_after_the_linger);

async fn workspaces_are_kept_apart(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let (mut one, mut other) = (cluster.broker.connect("one").await, cluster.broker.connect("one-2").await);
    one.connected().await;
    other.connected().await;
    cluster.broker.publish("one", "for one").await;
    cluster.broker.publish("one-2", "for the other").await;
    cluster.publish_live("one", "for one").await;
    cluster.publish_live("one-2", "for the other").await;
    for _ in 0..2 {
        assert_eq!(one.next_event(DEADLINE).await.data, "for one");
        assert_eq!(other.next_event(DEADLINE).await.data, "for the other");
    }
}

async fn a_workspace_is_given_up_after_the_linger(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("ring.linger_seconds", "0.3")]).await;
    let workspaces = async |count: u64| cluster.broker.status().await["workspaces"] == count;
    let mut client = cluster.broker.connect("acme").await;
    let position = client.connected().await.id;
    assert!(workspaces(1).await);
    drop(client);
    eventually("the workspace is given up", DEADLINE, async || workspaces(0).await).await;

    // What was published meanwhile is unknown to the broker.
    cluster.publish_live("acme", "nobody listens").await;
    let mut client = cluster.broker.connect_with("acme", Connect::after(&position)).await;
    assert_eq!(client.connected().await.json()["resumed"], true);
    cluster.publish_live("acme", "again").await;
    assert_eq!(client.next_event(DEADLINE).await.data, "again");
}

#[tokio::test]
async fn each_write_to_a_socket_counts_whichever_writer_it_is() {
    let cluster = TestCluster::start(Bus::Embedded).await;
    let writes = async || cluster.broker.metric("tidings_socket_writes_total").await.unwrap();
    let mut clients = [cluster.broker.connect("acme").await, cluster.broker.connect("acme").await];
    for client in &mut clients {
        client.connected().await;
    }
    let before = writes().await;
    for _ in 0..10 {
        cluster.publish_live("acme", "x").await;
        for client in &mut clients {
            client.next_event(DEADLINE).await;
        }
    }
    eventually("one write for each delivery", DEADLINE, async || writes().await >= before + 20.0).await;
    // A client may have its `connected` event before the write of it is counted.
    assert!(writes().await <= before + 22.0);
}

#[tokio::test]
async fn a_node_subscribes_once_for_all_its_clients() {
    let server = RedisServer::start().await;
    let options = BrokerOptions::redis(&server).set("ring.linger_seconds", 0.5);
    let (one, other) = (Broker::start(options.clone()).await, Broker::start(options).await);
    let mut clients = Vec::new();
    for broker in [&one, &one, &one, &one, &other, &other] {
        let mut client = broker.connect("acme").await;
        client.connected().await;
        clients.push(client);
    }
    assert_eq!(server.subscribers("workspace:acme").await, 2, "one for each node");
    assert_eq!(server.publish("workspace:acme", "to all").await, 2);
    for client in &mut clients {
        assert_eq!(client.next_event(DEADLINE).await.data, "to all");
    }
    // No subscription to more than what is wanted.
    assert_eq!(server.command::<u64>(&["PUBSUB", "NUMPAT"]).await, 0);

    clients.truncate(1);
    eventually("the second node lets go", DEADLINE, async || server.subscribers("workspace:acme").await == 1)
        .await;
    assert_eq!(server.publish("workspace:acme", "still here").await, 1);
    assert_eq!(clients[0].next_event(DEADLINE).await.data, "still here");
    clients.clear();
    eventually("the first node lets go", DEADLINE, async || server.subscribers("workspace:acme").await == 0)
        .await;
}

#[tokio::test]
async fn subscription_outlives_the_reload_of_a_page() {
    let server = RedisServer::start().await;
    let broker = Broker::start(BrokerOptions::redis(&server).set("ring.linger_seconds", 30)).await;
    let mut client = broker.connect("acme").await;
    let position = client.connected().await.id;
    drop(client);
    eventually("the client is gone", DEADLINE, async || broker.status().await["subscribers"] == 0).await;
    assert_eq!(server.publish("workspace:acme", "in between").await, 1);
    let mut client = broker.connect_with("acme", Connect::after(&position)).await;
    assert_eq!(client.connected().await.json()["resumed"], true);
    assert_eq!(client.next_event(DEADLINE).await.data, "in between");
}
