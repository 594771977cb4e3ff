//! Backends disconnect clients by a message on the control channel.

use std::time::Duration;

use serde_json::json;

use crate::support::http;
use crate::support::sse::{Connect, EventSource};
use crate::support::test_cluster::on_both_buses;
use crate::support::wait::eventually;
use crate::support::{Broker, BrokerOptions, Bus, DEADLINE, RedisServer, TestCluster};

on_both_buses!(
    one_stream_is_ended_by_its_id,
    a_workspace_is_closed_for_a_while,
    an_order_closes_an_event_source_in_time,
    an_order_that_is_not_understood_ends_nothing,
);

/// How soon every node has to carry an order out.
const SOON: Duration = Duration::from_secs(1);

/// Publishes a disconnect as a backend does, and returns the number of its receivers.
pub(super) async fn order(cluster: &TestCluster, order: serde_json::Value) -> u64 {
    let mut publish = redis::cmd("PUBLISH");
    publish.arg("tidings:control").arg(order.to_string());
    publish.query_async(&mut cluster.connection().await).await.unwrap()
}

async fn one_stream_is_ended_by_its_id(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("sse.retry_ms", "100")]).await;
    cluster.broker.ready().await;
    let mut other = cluster.broker.connect("acme").await;
    other.connected().await;
    let mut source = EventSource::open(cluster.broker.address(), "acme", Connect::default());
    let id = source.connected().await.json()["connectionId"].clone();

    assert_eq!(order(&cluster, json!({ "disconnect": { "connection": id } })).await, 1);
    let last = source.wait_for(SOON, |event| event.kind == "tidings.reconnect").await;
    assert_eq!(last.json()["reason"], "disconnected");
    let back = source.connected().await.json()["connectionId"].clone();
    assert_ne!(back, id, "the client may come back, and has a new id");
    assert!(other.end().is_none());
    assert_eq!(cluster.broker.metric(r#"tidings_reconnects_total{reason="disconnected"}"#).await, Some(1.0));
    assert_eq!(cluster.broker.metric("tidings_control_commands_total").await, Some(1.0));
}

async fn a_workspace_is_closed_for_a_while(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("sse.retry_ms", "100")]).await;
    cluster.broker.ready().await;
    let mut source = EventSource::open(cluster.broker.address(), "acme", Connect::default());
    source.connected().await;
    let mut other = cluster.broker.connect("other").await;
    other.connected().await;

    assert_eq!(order(&cluster, json!({ "disconnect": { "workspace": "acme", "for": 3 } })).await, 1);
    source.wait_for(SOON, |event| event.kind == "tidings.reconnect").await;
    eventually("the client has given up for good", DEADLINE, async || source.closed().is_some()).await;
    assert_eq!(cluster.broker.connect("acme").await.status(), 204);

    // A tool gets a status with the reason, and so does a publisher.
    let path = "/api/workspaces/acme/events";
    for (method, query) in [("GET", "?errors=http"), ("POST", "")] {
        let target = format!("{path}{query}");
        let refused = http::request(cluster.broker.address(), method, &target, &[], "x").await;
        assert_eq!((refused.status.as_u16(), &refused.json()["check"]), (403, &json!("disconnected")));
    }
    assert!(other.end().is_none(), "another workspace goes on");
    eventually("the workspace is open again", DEADLINE, async || {
        cluster.broker.connect("acme").await.status() == 200
    })
    .await;
}

/// `docs/protocol.md` says how long: a second for the order, and what `retry:` may be for the 204.
async fn an_order_closes_an_event_source_in_time(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    cluster.broker.ready().await;
    let mut source = EventSource::open(cluster.broker.address(), "acme", Connect::default());
    source.connected().await;
    assert_eq!(order(&cluster, json!({ "disconnect": { "workspace": "acme", "for": 60 } })).await, 1);
    let closed = Duration::from_millis(3500);
    eventually("the source is closed", closed, async || source.closed().is_some()).await;
}

/// A command that a node does not understand ends no stream.
async fn an_order_that_is_not_understood_ends_nothing(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    cluster.broker.ready().await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    for bad in [json!({ "disconnect": {} }), json!({ "disconnect": { "usr": "x" } }), json!("disconnect")] {
        assert_eq!(order(&cluster, bad).await, 1);
    }
    eventually("all were looked at", DEADLINE, async || {
        cluster.broker.metric("tidings_control_commands_invalid_total").await == Some(3.0)
    })
    .await;
    cluster.publish_live("acme", "still here").await;
    assert_eq!(client.application_event().await.data, "still here");
    cluster.broker.logged("a control command is not valid").await;
}

/// A node that missed a disconnect learns the ban from the store.
#[tokio::test]
async fn disconnected_or_new_node_reads_the_bans() {
    let server = RedisServer::start().await;
    let options = || BrokerOptions::redis(&server).set("sse.retry_ms", 100);
    let here = Broker::start_ready(options()).await;
    let mut publish = redis::cmd("PUBLISH");
    publish
        .arg("tidings:control")
        .arg(json!({ "disconnect": { "workspace": "acme", "for": 60 } }).to_string());
    let client = redis::Client::open(server.url()).unwrap();
    let mut backend = crate::support::redis_server::connect(&client).await.unwrap();
    let heard: u64 = publish.query_async(&mut backend).await.unwrap();
    assert_eq!(heard, 1);
    eventually("the node that heard it keeps clients out", DEADLINE, async || {
        here.connect("acme").await.status() == 204
    })
    .await;

    let later = Broker::start_ready(options()).await;
    eventually("so does one that was started later", DEADLINE, async || {
        later.connect("acme").await.status() == 204
    })
    .await;
    assert_eq!(later.connect("other").await.status(), 200);
}

#[tokio::test]
async fn banned_client_is_disconnected_once_the_node_knows() {
    let server = RedisServer::start().await;
    let broker = Broker::start_ready(BrokerOptions::redis(&server).set("sse.retry_ms", 100)).await;
    let mut source = EventSource::open(broker.address(), "acme", Connect::default());
    source.connected().await;
    let mut other = broker.connect("other").await;
    other.connected().await;

    // What another node would have had remembered of an order that was given half a minute before
    // the stream was opened.
    let order = json!({ "disconnect": { "workspace": "acme", "for": 60 } });
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let until = u64::try_from((since + Duration::from_secs(30)).as_millis()).unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let mut backend = crate::support::redis_server::connect(&client).await.unwrap();
    let mut remember = redis::cmd("ZADD");
    remember.arg("tidings/workspace:disconnects").arg(until).arg(order.to_string());
    let () = remember.query_async(&mut backend).await.unwrap();
    assert_eq!(server.kill_subscribers().await, 1, "the node hears the control channel anew");

    let last = source.wait_for(DEADLINE, |event| event.kind == "tidings.reconnect").await;
    assert_eq!(last.json()["reason"], "disconnected");
    eventually("it stays out", DEADLINE, async || source.closed().is_some()).await;
    assert!(other.end().is_none(), "whoever is not meant stays");
}

#[tokio::test]
async fn disconnect_over_http_is_rejected() {
    let cluster = TestCluster::start(Bus::Embedded).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let text = json!({ "disconnect": { "workspace": "acme" } }).to_string();
    for workspace in ["tidings:control", "tidings%3Acontrol", "..%2Ftidings:control"] {
        let target = format!("/api/workspaces/{workspace}/events");
        let answer = http::request(cluster.broker.address(), "POST", &target, &[], text.clone()).await;
        assert_eq!(answer.status, 400, "{workspace}");
    }
    cluster.publish_live("acme", "still here").await;
    assert_eq!(client.application_event().await.data, "still here");
    assert_eq!(cluster.broker.metric("tidings_control_commands_total").await, Some(0.0));
}
