//! `/live`, `/ready`, `/status` and `/metrics`.

use std::collections::BTreeMap;

use crate::support::test_cluster::on_both_buses;
use tidings::build::{COMMIT, VERSION};

use crate::support::{Bus, DEADLINE, TestCluster, eventually, http};

on_both_buses!(the_probes_answer, status_has_all_fields, metrics_count_events_and_streams);

async fn the_probes_answer(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let live = http::get(cluster.broker.admin(), "/live").await;
    assert_eq!((live.status.as_u16(), live.text()), (200, "alive\n"));
    cluster.broker.ready().await;
    let ready = http::get(cluster.broker.admin(), "/ready").await;
    assert_eq!(ready.json(), serde_json::json!({ "ready": true }));
    for path in ["/live", "/ready", "/status", "/metrics", "/openapi.json"] {
        for method in ["GET", "HEAD"] {
            let response = http::request(cluster.broker.admin(), method, path, &[], "").await;
            assert_eq!(response.status, 200, "{method} {path}");
            assert_eq!(response.header("cache-control"), "no-store", "{method} {path}");
            assert_eq!(response.body.is_empty(), method == "HEAD", "{method} {path}");
        }
    }
}

async fn status_has_all_fields(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    cluster.broker.ready().await;
    let mut clients = Vec::new();
    for workspace in ["one", "one", "other"] {
        let mut client = cluster.broker.connect(workspace).await;
        client.connected().await;
        clients.push(client);
    }
    cluster.publish_live("one", "live").await;
    cluster.broker.publish("one", "durable").await;
    for client in &mut clients[..2] {
        client.wait_for(DEADLINE, |event| event.data == "durable").await;
    }
    let response = http::get(cluster.broker.admin(), "/status").await;
    assert_eq!(response.header("content-type"), "application/json");
    let status = response.json();
    assert_eq!(status["node"].as_str().unwrap().len(), 8);
    assert_eq!((&status["version"], &status["commit"]), (&VERSION.into(), &COMMIT.into()));
    assert!(status["uptimeSeconds"].as_u64().unwrap() < 60);
    assert_eq!((&status["ready"], &status["notReadyBecause"]), (&true.into(), &serde_json::json!([])));
    let counts = ["connections", "subscribers", "workspaces"].map(|name| status[name].as_u64().unwrap());
    // The connection that published closes when it likes.
    assert!((3..=4).contains(&counts[0]) && counts[1..] == [3, 2], "{status}");
    let counters = &status["counters"];
    assert_eq!((&counters["eventsLive"], &counters["eventsLogged"]), (&1.into(), &1.into()), "{status}");
    assert_eq!((&counters["deliveries"], &counters["published"]), (&4.into(), &1.into()), "{status}");
    assert!(counters["deliveredBytes"].as_u64().unwrap() > 100, "{status}");

    let bus_status = &status["bus"];
    assert_eq!((&bus_status["state"], &bus_status["error"]), (&"up".into(), &serde_json::Value::Null));
    assert_eq!(bus_status["interruptions"], 0);
    assert!(bus_status["lastReceivedSecondsAgo"].as_f64().unwrap() < 10.0, "{status}");
    let since = bus_status["since"].as_str().unwrap();
    assert!(since.starts_with("20") && since.ends_with('Z') && since.contains('T'), "{since}");
    match bus {
        Bus::Embedded => assert_eq!(bus_status["kind"], "embedded"),
        Bus::Redis => {
            assert_eq!(bus_status["kind"], "redis");
            let info = cluster.redis().info("server").await;
            let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap();
            assert_eq!(bus_status["server"], format!("redis {version}"));
        }
    }
}

async fn metrics_count_events_and_streams(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("limits.event_bytes", "100")]).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    cluster.publish_live("acme", "live").await;
    cluster.broker.publish("acme", "durable").await;
    cluster.publish_live("acme", "x".repeat(101)).await;
    client.event_named("tidings.reset").await;
    drop(client);
    eventually("the client is gone", DEADLINE, async || cluster.broker.status().await["connections"] == 0)
        .await;

    let accept = [("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
    let response = http::request(cluster.broker.admin(), "GET", "/metrics", &accept, "").await;
    let content_type = response.header("content-type");
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"), "{content_type}");
    let metrics = read_metrics(response.text());
    for (name, value) in [
        ("tidings_connections", 0.0),
        ("tidings_connections_accepted_total", 2.0),
        ("tidings_subscribers", 0.0),
        ("tidings_workspaces", 1.0),
        ("tidings_events_total{kind=\"live\"}", 1.0),
        ("tidings_events_total{kind=\"logged\"}", 1.0),
        ("tidings_events_dropped_total{reason=\"too-large\"}", 1.0),
        ("tidings_resets_total{reason=\"too-large\"}", 1.0),
        ("tidings_deliveries_total", 2.0),
        ("tidings_published_total", 1.0),
        ("tidings_publish_failures_total", 0.0),
        ("tidings_publish_seconds_count", 1.0),
        ("tidings_delivery_seconds_count", 1.0),
        ("tidings_ready", 1.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name} in {metrics:#?}");
    }
    assert!(metrics["tidings_delivered_bytes_total"] > 100.0);
}

/// The samples of a page in the OpenMetrics form, each of a family that was described before.
fn read_metrics(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut families = Vec::new();
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let [kind, family, text] = comment.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            assert!(["HELP", "TYPE", "UNIT"].contains(&kind) && !text.is_empty(), "{line}");
            families.push(family);
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(families.iter().any(|family| name.starts_with(family)), "{line}");
        assert!(name.starts_with("tidings_") || name.starts_with("process_"), "{line}");
        let twice = samples.insert(name.to_owned(), value.parse().unwrap());
        assert_eq!(twice, None, "{name} stands twice");
    }
    samples
}
