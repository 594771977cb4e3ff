//! Events over Redis, which a node cannot refuse.

use super::{GOOD, RENAMED, UNKNOWN, counted, events, settings};
use crate::support::test_cluster::{on_both_buses, publish_live};
use crate::support::{Bus, DEADLINE, TestCluster, eventually};

on_both_buses!(
    mismatch_over_redis_is_delivered_counted_and_logged,
    entries_of_plain_commands_count_once,
    flood_is_delivered_and_has_few_log_lines,
);

const SCRIPT: &str = include_str!("../../../scripts/publish.lua");

async fn enforcing(bus: Bus) -> TestCluster {
    let directory = events();
    TestCluster::start_with(bus, &settings(directory.path().to_str().unwrap(), "enforce")).await
}

/// `XADD` and an empty message, as a backend without the script publishes.
async fn publish_plainly(cluster: &TestCluster, payload: &str) {
    let mut plain = redis::pipe();
    plain.atomic().cmd("XADD").arg("workspace:acme").arg("*").arg("data").arg(payload).ignore();
    plain.cmd("PUBLISH").arg("workspace:acme").arg("").ignore();
    let () = plain.query_async(&mut cluster.connection().await).await.unwrap();
}

async fn mismatch_over_redis_is_delivered_counted_and_logged(bus: Bus) {
    let cluster = enforcing(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let mut connection = cluster.connection().await;
    let mut call = redis::cmd("EVAL");
    call.arg(SCRIPT).arg(1).arg("workspace:acme").arg(RENAMED);
    let _: String = call.query_async(&mut connection).await.unwrap();
    publish_plainly(&cluster, UNKNOWN).await;
    assert_eq!(client.application_event().await.data, RENAMED);
    assert_eq!(client.application_event().await.data, UNKNOWN);
    publish_live(&mut connection, "acme", "text").await;
    publish_live(&mut connection, "acme", GOOD).await;
    assert_eq!(client.application_event().await.data, "text");
    assert_eq!(client.application_event().await.data, GOOD);
    counted(&cluster.broker, "mismatch", 2.0).await;
    counted(&cluster.broker, "no-schema", 1.0).await;
    counted(&cluster.broker, "valid", 1.0).await;
    counted(&cluster.broker, "refused", 0.0).await;
    let log = cluster.broker.logged("does not match its schema, and is delivered").await;
    assert!(log.contains("workspace=acme") && log.contains("from=\"bus\""), "{log}");
    assert!(log.contains("which is missing") && !log.contains("s3cr3t"), "{log}");
    assert!(client.events().iter().all(|event| event.kind != "tidings.reset"));
}

/// Each read of the log begins behind the last known entry, and several may have the same one.
async fn entries_of_plain_commands_count_once(bus: Bus) {
    let cluster = enforcing(bus).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = cluster.broker.connect("acme").await;
        client.connected().await;
        clients.push(client);
    }
    for _ in 0..20 {
        publish_plainly(&cluster, GOOD).await;
    }
    for client in &mut clients {
        for _ in 0..20 {
            client.application_event().await;
        }
    }
    // Replays have the same entries, and do not count.
    let query = crate::support::Connect::query("last=20");
    let mut late = cluster.broker.connect_with("acme", query).await;
    for _ in 0..20 {
        late.application_event().await;
    }
    cluster.publish_live("acme", "text").await;
    counted(&cluster.broker, "mismatch", 1.0).await;
    counted(&cluster.broker, "valid", 20.0).await;
}

async fn flood_is_delivered_and_has_few_log_lines(bus: Bus) {
    const EVENTS: usize = 400;
    let cluster = enforcing(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let mut connection = cluster.connection().await;
    for _ in 0..EVENTS {
        publish_live(&mut connection, "acme", RENAMED).await;
    }
    for _ in 0..EVENTS {
        client.wait_for(DEADLINE, |event| event.data == RENAMED).await;
    }
    counted(&cluster.broker, "mismatch", EVENTS as f64).await;
    // The next line has the number of those without one.
    let mut published = EVENTS;
    let lines = || {
        let log = cluster.broker.log();
        let lines = log.lines().filter(|line| line.contains("does not match its schema"));
        lines
            .map(|line| line.split("silenced=").nth(1).unwrap().trim().parse().unwrap())
            .collect::<Vec<usize>>()
    };
    eventually("a line after the flood", DEADLINE, async || {
        publish_live(&mut connection, "acme", RENAMED).await;
        published += 1;
        counted(&cluster.broker, "mismatch", published as f64).await;
        lines().iter().sum::<usize>() >= EVENTS / 2
    })
    .await;
    let lines = lines();
    assert!(lines.len() + lines.iter().sum::<usize>() <= published, "{lines:?} of {published}");
    assert!(lines.len() < EVENTS / 4, "{} lines of {published}", lines.len());
}
