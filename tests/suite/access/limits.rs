//! Streams beyond a bound are rejected, in a way that passes.

use std::time::Duration;

use crate::support::http;
use crate::support::sse::{Connect, EventSource};
use crate::support::test_cluster::on_both_buses;
use crate::support::{Bus, DEADLINE, TestCluster};

on_both_buses!(new_stream_needs_the_end_of_another, streams_end_when_they_are_old);

async fn new_stream_needs_the_end_of_another(bus: Bus) {
    let settings = [("limits.connections_per_workspace", "2"), ("sse.retry_ms", "100")];
    let cluster = TestCluster::start_with(bus, &settings).await;
    let mut first = cluster.broker.connect("acme").await;
    let mut second = cluster.broker.connect("acme").await;
    first.connected().await;
    second.connected().await;

    let mut source = EventSource::open(cluster.broker.address(), "acme", Connect::default());
    let refusal = source.wait_for(DEADLINE, |event| event.kind == "tidings.reconnect").await;
    assert_eq!(refusal.json()["reason"], "overloaded");
    let target = "/api/workspaces/acme/events?errors=http";
    let refused = http::get(cluster.broker.address(), target).await;
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("limits.connections_per_workspace"), "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    let mut elsewhere = cluster.broker.connect("other").await;
    elsewhere.connected().await;
    assert!(first.end().is_none() && second.end().is_none(), "nobody is sent away");

    drop(first);
    source.connected().await;
    assert_eq!(source.closed(), None);
    let turned_away =
        cluster.broker.metric(r#"tidings_refusals_total{reason="connections-per-workspace"}"#).await;
    assert!(turned_away >= Some(2.0), "{turned_away:?}");
}

async fn streams_end_when_they_are_old(bus: Bus) {
    let settings = [("limits.connection_age_seconds", "1"), ("sse.retry_ms", "100")];
    let cluster = TestCluster::start_with(bus, &settings).await;
    let mut source = EventSource::open(cluster.broker.address(), "acme", Connect::default());
    source.connected().await;
    let last = source.wait_for(Duration::from_secs(3), |event| event.kind == "tidings.reconnect").await;
    assert_eq!(last.json()["reason"], "aged");
    let again = source.connected().await;
    assert!(!again.id.is_empty());
}
