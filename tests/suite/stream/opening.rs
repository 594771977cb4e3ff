//! What a stream begins with, and what an idle one carries.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::support::raw::{RawConnection, head};
use crate::support::test_cluster::on_both_buses;
use crate::support::{
    Broker, BrokerOptions, Bus, Connect, DEADLINE, End, RedisOptions, RedisServer, TestCluster, eventually,
};

on_both_buses!(
    the_head_is_that_of_an_event_stream,
    first_block_has_retry_and_the_connected_event,
    each_connection_gets_its_own_retry,
    heartbeats_move_the_position_of_an_idle_client,
    the_accept_header_decides_whether_there_is_a_stream,
    no_event_is_missed_after_the_connected_event,
    a_stream_comes_behind_the_answers_before_it,
    stream_over_http10_begins_with_the_same_bytes,
);

async fn the_head_is_that_of_an_event_stream(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let client = cluster.broker.connect("acme").await;
    assert_eq!(client.status(), 200);
    assert_eq!(client.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(client.header("cache-control"), "no-cache, no-store, no-transform");
    assert_eq!(client.header("x-accel-buffering"), "no");
    for absent in ["content-length", "content-encoding", "vary", "access-control-allow-origin"] {
        assert!(!client.headers().contains_key(absent), "{absent}");
    }
}

/// Bytes behind its request get no response: a stream is the last response of its connection.
async fn a_stream_comes_behind_the_answers_before_it(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut connection = RawConnection::open(cluster.broker.address()).await;
    let stream = head("GET", "/api/workspaces/acme/events", &[("Accept", "text/event-stream")]);
    let missing = head("GET", "/nowhere", &[]);
    connection.send(format!("{missing}{stream}{missing}")).await;
    let come = connection.read_until("\"connected\"").await;
    cluster.broker.publish("acme", "after").await;
    let come = come + &connection.read_until("data: after").await;
    let answers: Vec<_> = come.match_indices("HTTP/1.1 ").map(|(at, _)| &come[at + 9..at + 12]).collect();
    assert_eq!(answers, ["404", "200"], "{come}");
}

async fn first_block_has_retry_and_the_connected_event(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    let connected = client.connected().await;
    assert_eq!(connected.kind, "message");
    let expected = r#"{"type":"connected","workspaceId":"acme","resumed":false,"connectionId":""#;
    assert!(connected.data.starts_with(expected), "{}", connected.data);
    assert!(connected.data.ends_with(r#"","heartbeatMs":15000}"#), "{}", connected.data);
    assert!((1..=128).contains(&connected.id.len()), "{:?}", connected.id);
    let needs_no_preflight = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    assert!(connected.id.bytes().all(needs_no_preflight), "{:?}", connected.id);

    let retry = client.retries()[0];
    let expected = format!("retry: {retry}\nid: {}\ndata: {}\n\n", connected.id, connected.data);
    assert_eq!(String::from_utf8(client.body()).unwrap(), expected);
}

/// So a client distinguishes a bus that is away from a proxy that withholds the stream.
#[tokio::test]
async fn held_client_gets_a_heartbeat_after_a_second() {
    let redis = RedisServer::prepare(RedisOptions::default());
    let options =
        BrokerOptions::redis(&redis).set("redis.confirm_seconds", 3600).set("sse.heartbeat_seconds", 3600);
    let broker = Broker::start(options).await;
    let mut client = broker.connect("acme").await;
    let heartbeat = client.event_named("tidings.heartbeat").await;
    assert_eq!((heartbeat.id.as_str(), heartbeat.data.as_str()), ("", r#"{"live":false}"#));
    assert_eq!(client.events().len(), 1);
}

async fn each_connection_gets_its_own_retry(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("sse.retry_ms", "4000")]).await;
    let mut retries = Vec::new();
    for _ in 0..40 {
        let mut client = cluster.broker.connect("acme").await;
        client.connected().await;
        retries.extend(client.retries());
    }
    assert_eq!(retries.len(), 40);
    assert!(retries.iter().all(|retry| (3000..=5000).contains(retry)), "{retries:?}");
    assert!(retries.iter().any(|&retry| retry < 3700), "{retries:?}");
    assert!(retries.iter().any(|&retry| retry > 4300), "{retries:?}");
    assert!(retries.iter().collect::<HashSet<_>>().len() > 20, "{retries:?}");
}

async fn heartbeats_move_the_position_of_an_idle_client(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("sse.heartbeat_seconds", "0.2")]).await;
    let began = Instant::now();
    let mut client = cluster.broker.connect_with("acme", Connect::query("types=WANTED")).await;
    let connected = client.connected().await;
    for _ in 0..5 {
        let heartbeat = client.event_named("tidings.heartbeat").await;
        assert_eq!(heartbeat.kind, "tidings.heartbeat");
        assert_eq!(heartbeat.json(), serde_json::json!({ "live": true }));
        assert_eq!(heartbeat.id, connected.id);
    }
    // Four intervals, each at least 90 % of the configured one; the one after the first heartbeat
    // may be shorter.
    assert!(began.elapsed() >= Duration::from_millis(720), "{:?}", began.elapsed());

    // The client does not get this event, and need not be sent it when it reconnects.
    let id = cluster.broker.publish("acme", r#"{"type":"OTHER"}"#).await;
    client.wait_for(DEADLINE, |event| event.kind == "tidings.heartbeat" && event.id == id).await;
    assert!(client.application_data().is_empty());
}

async fn the_accept_header_decides_whether_there_is_a_stream(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    for accept in ["text/event-stream", "*/*", "text/*", "", "text/html, text/event-stream;q=0.1"] {
        let client = cluster.broker.connect_with("acme", Connect::default().header("Accept", accept)).await;
        assert_eq!(client.status(), 200, "{accept:?}");
    }
    for accept in
        ["text/html", "application/json", "text/event-stream;q=0, */*", "text/html, application/xml"]
    {
        let mut connection = RawConnection::open(cluster.broker.address()).await;
        let request = head("GET", "/api/workspaces/acme/events", &[("Accept", accept)]);
        let response = connection.exchange(request).await;
        assert_eq!(response.status, 406, "{accept:?}");
        assert_eq!(response.header("content-type"), "application/problem+json");
        assert_eq!(response.json()["type"], "urn:tidings:problem:not-acceptable");
    }

    let mut connection = RawConnection::open(cluster.broker.address()).await;
    connection.send(head("GET", "/api/workspaces/acme/events", &[])).await;
    eventually("a client without Accept is a subscriber", DEADLINE, async || {
        cluster.broker.status().await["subscribers"] == 1
    })
    .await;
}

async fn no_event_is_missed_after_the_connected_event(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut connection = cluster.connection().await;
    for round in 0..20 {
        // A workspace of its own each time, so that its subscription is new.
        let workspace = format!("round-{round}");
        let mut client = cluster.broker.connect(&workspace).await;
        client.connected().await;
        crate::support::test_cluster::publish_live(&mut connection, &workspace, "first").await;
        assert_eq!(client.next_event(DEADLINE).await.data, "first");
    }
}

#[tokio::test]
async fn the_head_and_the_retry_do_not_wait_for_redis() {
    let server = RedisServer::prepare(RedisOptions::default());
    let options =
        BrokerOptions::redis(&server).set("redis.confirm_seconds", 60).set("sse.heartbeat_seconds", 0.1);
    let broker = Broker::start(options).await;
    let mut client = broker.connect("acme").await;
    assert_eq!(client.status(), 200);
    // Held back is only what the `connected` event promises; bytes flow, so that no proxy takes the
    // connection for dead.
    for _ in 0..3 {
        let heartbeat = client.event_named("tidings.heartbeat").await;
        assert_eq!((heartbeat.kind.as_str(), heartbeat.id.as_str()), ("tidings.heartbeat", ""));
        assert_eq!(heartbeat.json(), serde_json::json!({ "live": false }));
    }
    assert_eq!(client.retries().len(), 1);
    // The retry is a field of the first of them.
    let first = format!("retry: {}\nevent: tidings.heartbeat\ndata: ", client.retries()[0]);
    assert!(client.body().starts_with(first.as_bytes()));
}

#[tokio::test]
async fn the_retry_comes_before_there_is_a_block_for_it() {
    let server = RedisServer::prepare(RedisOptions::default());
    let options =
        BrokerOptions::redis(&server).set("redis.confirm_seconds", 60).set("sse.heartbeat_seconds", 600);
    let broker = Broker::start(options).await;
    let client = broker.connect("acme").await;
    eventually("the retry", DEADLINE, async || client.retries().len() == 1).await;
    assert_eq!(String::from_utf8(client.body()).unwrap(), format!("retry: {}\n", client.retries()[0]));
}

#[tokio::test]
async fn stream_ended_before_its_connected_event_has_whole_events() {
    let server = RedisServer::prepare(RedisOptions::default());
    let broker = Broker::start(BrokerOptions::redis(&server).set("redis.confirm_seconds", 0.5)).await;
    let mut client = broker.connect("acme").await;
    assert_eq!(client.wait_end(DEADLINE).await, End::Clean);
    let [first, last] = client.retries()[..] else { panic!("{:?}", client.retries()) };
    let data = format!(r#"{{"reason":"unavailable","retryMs":{last}}}"#);
    let expected = format!("retry: {first}\nevent: tidings.reconnect\nretry: {last}\ndata: {data}\n\n");
    assert_eq!(String::from_utf8(client.body()).unwrap(), expected);
}

/// A response by HTTP/1.0 has no chunks and is written by the HTTP server.
async fn stream_over_http10_begins_with_the_same_bytes(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut connection = RawConnection::open(cluster.broker.address()).await;
    let request = head("GET", "/api/workspaces/acme/events", &[("Accept", "text/event-stream")]);
    connection.send(request.replace("HTTP/1.1", "HTTP/1.0")).await;
    let come = connection.read_until("\"connected\"").await;
    cluster.broker.publish("acme", "after").await;
    let come = come + &connection.read_until("data: after\n\n").await;
    let (_, body) = come.split_once("\r\n\r\n").unwrap();
    let lines: Vec<_> = body.split_inclusive('\n').collect();
    let fields: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(fields, ["retry:", "id:", "data:", "\n", "id:", "data:", "\n"], "{body}");
}
