//! Publications over HTTP, and the version in the `connected` event.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{CHANNEL, GOOD, RENAMED, UNKNOWN, counted, events, settings, vectors};
use crate::support::http::{self, Response};
use crate::support::test_cluster::on_both_buses;
use crate::support::{Broker, BrokerOptions, Bus, Connect, DEADLINE, TestCluster};

on_both_buses!(
    enforce_refuses_a_mismatch,
    refused_batch_publishes_nothing,
    report_publishes_and_counts,
    connected_event_names_the_version,
    types_with_a_version_are_filtered_and_named,
);

const EVENTS: &str = "/api/workspaces/acme/events";

async fn post(broker: &Broker, query: &str, body: impl Into<bytes::Bytes>) -> Response {
    http::request(broker.address(), "POST", &format!("{EVENTS}{query}"), &[], body).await
}

/// The detail of a refusal by schemas.
fn refused(response: &Response) -> String {
    assert_eq!(response.status, 422, "{response:?}");
    assert_eq!(response.header("content-type"), "application/problem+json");
    let problem = response.json();
    assert_eq!(problem["type"], "urn:tidings:problem:schema-mismatch");
    problem["detail"].as_str().unwrap().to_owned()
}

async fn enforcing(bus: Bus) -> TestCluster {
    let directory = events();
    // The node needs the files at its start alone.
    TestCluster::start_with(bus, &settings(directory.path().to_str().unwrap(), "enforce")).await
}

async fn enforce_refuses_a_mismatch(bus: Bus) {
    let cluster = enforcing(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    assert_eq!(
        refused(&post(&cluster.broker, "", RENAMED).await),
        "the event does not match the schemas: at the root, `required` has \"name\", which is missing (schema \
         CHANNEL_UPDATED)"
    );
    let more = r#"{"type":"CHANNEL_UPDATED","id":"c1","name":"a","more":"s3cr3t"}"#;
    let more = refused(&post(&cluster.broker, "", more).await);
    assert!(
        more.contains("at the root, `additionalProperties` forbids more") && !more.contains("s3cr3t"),
        "{more}"
    );
    let envelope = json!({ "data": { "type": "CHANNEL_UPDATED", "id": 1, "name": "a" }, "to": ["u1"] });
    let place = refused(&post(&cluster.broker, "?envelope=1", envelope.to_string()).await);
    assert!(place.contains("at /id, `type` is string"), "{place}");
    let unknown = refused(&post(&cluster.broker, "", UNKNOWN).await);
    assert!(unknown.contains("has no schema: did you mean \"CHANNEL_UPDATED\"?"), "{unknown}");
    refused(&post(&cluster.broker, "", "text").await);

    let secret = "s3cr3t".repeat(30_000);
    let large = json!({ "type": "CHANNEL_UPDATED", "id": "c1", "name": secret }).to_string();
    let bounded = refused(&post(&cluster.broker, "", large).await);
    assert!(bounded.contains("at /name, `maxLength` is 20") && !bounded.contains("s3cr3t"), "{bounded}");

    assert_eq!(post(&cluster.broker, "", GOOD).await.status, 200);
    assert_eq!(client.application_event().await.data, GOOD, "the first event that was published");
    counted(&cluster.broker, "refused", 6.0).await;
    counted(&cluster.broker, "valid", 1.0).await;
}

async fn refused_batch_publishes_nothing(bus: Bus) {
    let cluster = enforcing(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let batch = [GOOD, GOOD, RENAMED, GOOD].join("\n");
    let detail = refused(&post(&cluster.broker, "?batch=1", batch).await);
    assert!(detail.starts_with("event 3 of the batch does not match"), "{detail}");
    let marker = r#"{"type":"CHANNEL_UPDATED","id":"c2","name":"last"}"#;
    assert_eq!(post(&cluster.broker, "?batch=1", marker).await.status, 200);
    assert_eq!(client.application_event().await.data, marker);
}

async fn report_publishes_and_counts(bus: Bus) {
    let directory = events();
    let settings = settings(directory.path().to_str().unwrap(), "report");
    let cluster = TestCluster::start_with(bus, &settings).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    assert_eq!(post(&cluster.broker, "?batch=1", [GOOD, RENAMED, UNKNOWN].join("\n")).await.status, 200);
    for payload in [GOOD, RENAMED, UNKNOWN] {
        assert_eq!(client.application_event().await.data, payload);
    }
    let log = cluster.broker.logged("does not match its schema").await;
    assert!(log.contains("`required` has") && log.contains("from=\"http\""), "{log}");
    assert!(!log.contains("s3cr3t"), "{log}");
    // The announcements behind it were read before a live event, and did not count again.
    cluster.publish_live("acme", GOOD).await;
    counted(&cluster.broker, "valid", 2.0).await;
    counted(&cluster.broker, "mismatch", 1.0).await;
    counted(&cluster.broker, "no-schema", 1.0).await;
}

async fn connected_event_names_the_version(bus: Bus) {
    let (directory, version) = vectors();
    for mode in ["off", "report", "enforce"] {
        let cluster = TestCluster::start_with(bus, &settings(&directory, mode)).await;
        for query in ["", "types=A"] {
            let mut client = cluster.broker.connect_with("acme", Connect::query(query)).await;
            let connected: Value = serde_json::from_str(&client.connected().await.data).unwrap();
            assert_eq!(connected["schemas"], version.as_str(), "{mode}");
        }
        if mode == "off" {
            assert_eq!(post(&cluster.broker, "", RENAMED).await.status, 200);
        }
    }
    let cluster = TestCluster::start(bus).await;
    let connected = cluster.broker.connect("acme").await.connected().await.data;
    assert!(!connected.contains("schemas"), "{connected}");
}

/// `@` in a type, as the next form of an event has it.
async fn types_with_a_version_are_filtered_and_named(bus: Bus) {
    const NEXT: &str = r#"{"type":"CHANNEL_UPDATED@2","channel":{"id":"c1"}}"#;
    let cluster = TestCluster::start(bus).await;
    let mut clients = Vec::new();
    for (query, expected) in [
        ("types=CHANNEL_UPDATED@2", &[NEXT][..]),
        ("types=CHANNEL_UPDATED%402", &[NEXT]),
        ("types=CHANNEL_UPDATED", &[GOOD]),
        ("types=CHANNEL_UPDATED,CHANNEL_UPDATED%402", &[GOOD, NEXT]),
        ("types=CHANNEL_UPDATED@2&named=1", &[NEXT]),
    ] {
        let mut client = cluster.broker.connect_with("acme", Connect::query(query)).await;
        client.connected().await;
        clients.push((query, client, expected));
    }
    assert_eq!(post(&cluster.broker, "?batch=1", [GOOD, NEXT].join("\n")).await.status, 200);
    for (query, mut client, expected) in clients {
        for payload in expected {
            let event = client.next_event(DEADLINE).await;
            assert_eq!(event.data, *payload, "{query}");
            if query.ends_with("named=1") {
                assert_eq!(event.kind, "CHANNEL_UPDATED@2");
            }
        }
    }
}

#[tokio::test]
async fn changed_files_count_at_the_next_start() {
    let directory = events();
    let path = directory.path().to_str().unwrap();
    let options = BrokerOptions::embedded().set("schemas.path", path).set("schemas.mode", "enforce");
    let mut broker = Broker::start_ready(options).await;
    let version = async |broker: &Broker| {
        let connected: Value =
            serde_json::from_str(&broker.connect("acme").await.connected().await.data).unwrap();
        connected["schemas"].as_str().unwrap().to_owned()
    };
    let first = version(&broker).await;
    directory.write("CHANNEL_UPDATED.json", CHANNEL.replace("name", "title"));
    broker.signal(Signal::SIGHUP);
    broker.logged("the configuration was read again").await;
    assert_eq!(version(&broker).await, first);
    assert_eq!(post(&broker, "", GOOD).await.status, 200);
    broker.restart().await;
    assert_ne!(version(&broker).await, first);
    assert_eq!(post(&broker, "", RENAMED).await.status, 200);
    refused(&post(&broker, "", GOOD).await);
}
