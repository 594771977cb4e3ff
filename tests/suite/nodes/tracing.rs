//! The trace of an event.

use nix::sys::signal::Signal;
use serde_json::json;

use super::{ask, document, fleet, freeze, id, of_node, run};
use crate::support::commands::run_tidings;
use crate::support::test_cluster::publish_live;
use crate::support::token::{JWT, bearer, token};
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, RedisServer, eventually};

/// Small buffers, so that a client that does not read is soon behind.
const SMALL: [(&str, &str); 2] = [("ring.events", "1000"), ("server.send_buffer_bytes", "16384")];

#[tokio::test]
async fn trace_counts_streams_of_all_nodes() {
    let server = RedisServer::start().await;
    let [one, other] = fleet(&server, &[]).await;
    let mut clients = Vec::new();
    for (broker, query) in [(&one, ""), (&one, "types=OTHER"), (&other, ""), (&other, "")] {
        let mut client = broker.connect_with("acme", Connect::query(query)).await;
        client.connected().await;
        clients.push(client);
    }
    let event = one.publish("acme", r#"{"type":"A"}"#).await;
    for client in [0, 2, 3] {
        clients[client].application_event().await;
    }
    let mut late = one.connect("acme").await;
    late.connected().await;
    let traced = document(&server, &["trace", &event]).await;
    assert_eq!((traced["workspace"].as_str(), traced["kind"].as_str()), (Some("acme"), Some("durable")));
    let here = of_node(&traced, &id(&one).await);
    assert_eq!(here["place"], "ring");
    let counts = |node: &serde_json::Value| {
        ["written", "past", "behind", "hidden"].map(|name| node[name].as_u64().unwrap())
    };
    assert_eq!(counts(here), [1, 1, 0, 1], "{here}");
    assert_eq!(counts(of_node(&traced, &id(&other).await)), [2, 0, 0, 0], "{traced}");
    assert_eq!(counts(&traced["total"]), [3, 1, 0, 1]);
    assert_eq!(traced["log"], json!({ "held": true, "bytes": 12, "private": false, "error": null }));
    let entry: u64 = event.split('-').next().unwrap().parse().unwrap();
    assert_eq!(traced["atMs"], entry);
    assert!(here["receivedMs"].as_u64().unwrap().abs_diff(entry) < 10_000, "{here}");
    let text = run(&server, &["trace", &event, "--workspace", "acme"]).await.success();
    assert!(text.contains("3 written, 0 behind, 1 hidden"), "{text}");
}

/// A client that does not read is counted as behind, with its connection, and others are not.
#[tokio::test]
async fn slow_client_is_behind() {
    let server = RedisServer::start().await;
    let [one, other] = fleet(&server, &SMALL).await;
    let mut reader = one.connect("acme").await;
    let connected = reader.connected().await;
    let options = Connect { receive_buffer: Some(8192), ..Connect::default() };
    let mut slow = one.connect_with("acme", options).await;
    let connection = slow.connected().await.json()["connectionId"].as_str().unwrap().to_owned();
    slow.stop_reading();
    let mut event = String::new();
    for number in 0..200 {
        event = other.publish("acme", &format!("{number}:{}", "x".repeat(5_000))).await;
    }
    reader.wait_for(DEADLINE, |event| event.data.starts_with("199:")).await;
    let traced = document(&server, &["trace", &event]).await;
    let node = of_node(&traced, &id(&one).await);
    assert_eq!((node["written"].as_u64(), node["behind"].as_u64()), (Some(1), Some(1)), "{node}");
    let slowest = &node["slowest"][0];
    assert_eq!(slowest["connection"], *connection, "{slowest}");
    assert!(slowest["eventsBehind"].as_u64().unwrap() > 10, "{slowest}");
    // The HTTP server does not report the bytes that it holds.
    let bytes = slowest["bytesBehind"].as_u64();
    assert!(slowest["writer"] == "HTTP server" || bytes.unwrap() > 50_000, "{slowest}");
    assert_ne!(connected.json()["connectionId"], *connection);
    let text = run(&server, &["explain", "acme"]).await.success();
    assert!(text.lines().last().unwrap().contains("reads them too slowly"), "{text}");
}

/// The ring has dropped an event that a client still lacks.
#[tokio::test]
async fn client_behind_the_ring_lacks_an_older_event() {
    let server = RedisServer::start().await;
    let settings = [("ring.events", "200"), ("ring.bytes", "8388608"), ("server.send_buffer_bytes", "16384")];
    let [one] = fleet(&server, &settings).await;
    let mut reader = one.connect("acme").await;
    reader.connected().await;
    let options = Connect { receive_buffer: Some(8192), ..Connect::default() };
    let mut slow = one.connect_with("acme", options).await;
    let connection = slow.connected().await.json()["connectionId"].as_str().unwrap().to_owned();
    slow.stop_reading();
    let mut events = Vec::new();
    // The buffer of the engine holds an eighth more than the ring. The client lacks most of the
    // large events.
    for number in 0..220 {
        let size = if (1..40).contains(&number) { 60_000 } else { 1 };
        events.push(one.publish("acme", &format!("{number}:{}", "x".repeat(size))).await);
    }
    reader.wait_for(DEADLINE, |event| event.data.starts_with("219:")).await;
    let counts = async |event: &str| {
        let traced = document(&server, &["trace", event, "--workspace", "acme"]).await;
        let node = of_node(&traced, &id(&one).await).clone();
        assert_eq!(node["place"], "older", "{traced}");
        let counts = ["written", "past", "behind", "hidden"].map(|name| node[name].as_u64().unwrap());
        (counts, node)
    };
    let (found, node) = counts(&events[19]).await;
    assert_eq!(found, [0, 1, 1, 0], "{node}");
    assert_eq!(node["slowest"][0]["connection"], *connection, "{node}");
    assert_eq!(counts(&events[0]).await.0, [0, 2, 0, 0], "both have it");
}

/// The payload and the users of a private event are in no reply.
#[tokio::test]
async fn private_event_is_traced_without_its_payload() {
    let server = RedisServer::start().await;
    let [one] = fleet(&server, &JWT).await;
    let mut clients = Vec::new();
    for user in ["ann", "ben"] {
        let token = token(user, &["acme"], 60, &json!({}));
        let options = Connect::default().header("authorization", &bearer(&token));
        let mut client = one.connect_with("acme", options).await;
        client.connected().await;
        clients.push(client);
    }
    let published = run(&server, &["publish", "acme", "a secret payload", "--to", "ann"]).await.success();
    clients[0].application_event().await;
    let traced = document(&server, &["trace", published.trim()]).await;
    let node = of_node(&traced, &id(&one).await);
    assert_eq!((node["written"].as_u64(), node["hidden"].as_u64()), (Some(1), Some(1)), "{node}");
    assert_eq!((node["private"].as_bool(), traced["log"]["private"].as_bool()), (Some(true), Some(true)));
    assert!(
        !traced.to_string().contains("secret payload") && !traced.to_string().contains("ann"),
        "{traced}"
    );
}

#[tokio::test]
async fn stopped_node_is_named_in_the_trace() {
    let server = RedisServer::start().await;
    let [one, stopped] = fleet(&server, &[]).await;
    let mut client = one.connect("acme").await;
    client.connected().await;
    let event = one.publish("acme", "x").await;
    client.application_event().await;
    let silent = id(&stopped).await;
    freeze(&stopped).await;
    let path = format!("/api/console/trace?workspace=acme&event={event}");
    let traced = ask(&one, "GET", &path, "").await.json();
    let command = run(&server, &["trace", &event, "--workspace", "acme"]).await;
    stopped.signal(Signal::SIGCONT);
    assert_eq!(command.code, Some(1), "{command:?}");
    assert!(command.stdout.contains(&silent), "{command:?}");
    assert_eq!(traced["silent"], json!([silent]), "{traced}");
    assert_eq!(traced["total"]["written"], 1);
    assert!(traced["summary"].as_str().unwrap().contains(&silent), "{traced}");
}

/// Each node gives a live event an id of its own, and only that node knows it.
#[tokio::test]
async fn live_event_is_known_to_its_node() {
    let server = RedisServer::start().await;
    let [one, other] = fleet(&server, &[]).await;
    let (mut here, mut there) = (one.connect("acme").await, other.connect("acme").await);
    here.connected().await;
    there.connected().await;
    publish_live(&mut server.connection().await.unwrap(), "acme", "live").await;
    let event = here.application_event().await.id;
    there.application_event().await;
    let traced = document(&server, &["trace", &event]).await;
    assert_eq!((traced["kind"].as_str(), traced["log"].is_null()), (Some("live"), true), "{traced}");
    let node = of_node(&traced, &id(&one).await);
    assert_eq!((node["place"].as_str(), node["written"].as_u64()), (Some("ring"), Some(1)), "{traced}");
    assert_eq!(of_node(&traced, &id(&other).await)["place"], "otherNode");
}

#[tokio::test]
async fn unknown_event_is_explained() {
    let server = RedisServer::start().await;
    let [one] = fleet(&server, &[("ring.events", "2"), ("retention.events", "2")]).await;
    let mut client = one.connect("acme").await;
    client.connected().await;
    let first = one.publish("acme", "0").await;
    for number in 1..200 {
        one.publish("acme", &number.to_string()).await;
    }
    client.wait_for(DEADLINE, |event| event.data == "199").await;
    let unnamed = run(&server, &["trace", &first]).await.failure(1);
    assert!(unnamed.contains("name the workspace"), "{unnamed}");
    let traced = document(&server, &["trace", &first, "--workspace", "acme"]).await;
    assert_eq!(
        (traced["nodes"][0]["place"].as_str(), traced["log"]["held"].as_bool()),
        (Some("older"), Some(false))
    );
    let finished = run(&server, &["trace", "9999999999999-0", "--workspace", "acme"]).await;
    assert_eq!(finished.code, Some(1), "it was not found");
    let traced = document(&server, &["trace", "9999999999999-0", "--workspace", "acme"]).await;
    assert_eq!(traced["nodes"][0]["place"], "notYet", "{traced}");
    let wrong = run(&server, &["trace", "not an id"]).await.failure(2);
    assert!(wrong.contains("not an event id"), "{wrong}");
    for (path, status) in [
        ("/api/console/trace", 400),
        ("/api/console/trace?event=x", 400),
        ("/api/console/trace?event=1-0", 404),
        ("/api/console/trace?event=1-0&workspace=a%20b", 400),
    ] {
        assert_eq!(ask(&one, "GET", path, "").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn event_of_the_embedded_bus_is_traced() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    let event = broker.publish("acme", "x").await;
    client.application_event().await;
    let address = broker.embedded().to_string();
    let settings = [("embedded.listen", address.as_str())];
    eventually("the node is announced", DEADLINE, async || {
        run_tidings(&["nodes"], &settings).await.code == Some(0)
    })
    .await;
    let text = run_tidings(&["trace", &event], &settings).await.success();
    assert!(text.contains("Open streams: 1 written"), "{text}");
}
