//! Where a published event goes.

use std::collections::BTreeMap;
use std::process::Command;

use super::EVENTS;
use crate::support::directory::repository;
use crate::support::programs::run;
use crate::support::test_cluster::on_both_buses;
use crate::support::{Bus, DEADLINE, TestCluster, http};

on_both_buses!(a_published_event_reaches_every_client, concurrent_publications_arrive_in_the_order_of_ids);

async fn a_published_event_reaches_every_client(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let (mut one, mut other) = (cluster.broker.connect("acme").await, cluster.broker.connect("acme").await);
    one.connected().await;
    other.connected().await;
    let payload = r#"{"type":"CHANNEL_UPDATED"}"#;
    let response = http::request(cluster.broker.address(), "POST", EVENTS, &[], payload).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), "application/json");
    assert_eq!(response.header("cache-control"), "no-store");
    let answer = response.json();
    let id = answer["id"].as_str().unwrap();
    assert_eq!(answer, serde_json::json!({ "id": id }));
    for client in [&mut one, &mut other] {
        let event = client.next_event(DEADLINE).await;
        assert_eq!((event.id.as_str(), event.data.as_str()), (id, payload));
    }
    assert_eq!(cluster.broker.status().await["counters"]["published"], 1);
}

async fn concurrent_publications_arrive_in_the_order_of_ids(bus: Bus) {
    const PUBLISHERS: usize = 8;
    const EACH: usize = 25;
    let cluster = TestCluster::start(bus).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = cluster.broker.connect("acme").await;
        client.connected().await;
        clients.push(client);
    }
    let address = cluster.broker.address();
    let publishers = (0..PUBLISHERS).map(|publisher| async move {
        let mut published = Vec::new();
        for number in 0..EACH {
            let payload = format!("{publisher}/{number}");
            let response = http::request(address, "POST", EVENTS, &[], payload.clone()).await;
            let id = response.json()["id"].as_str().unwrap().to_owned();
            published.push((place(&id), payload));
        }
        published
    });
    let published = futures_util::future::join_all(publishers).await.concat();
    let by_id: BTreeMap<_, _> = published.into_iter().collect();
    assert_eq!(by_id.len(), PUBLISHERS * EACH, "each event has an id of its own");
    let expected: Vec<_> = by_id.into_values().collect();
    for client in &mut clients {
        let last = expected.last().unwrap();
        client.wait_for(DEADLINE, |event| event.data == *last).await;
        assert_eq!(client.application_data(), expected);
    }
}

/// The two numbers of an id.
fn place(id: &str) -> (u64, u64) {
    let (milliseconds, sequence) = id.split_once('-').unwrap();
    (milliseconds.parse().unwrap(), sequence.parse().unwrap())
}

/// The ids and payloads in the workspace's log.
async fn log(cluster: &TestCluster) -> Vec<(String, String)> {
    let entries: Vec<(String, BTreeMap<String, String>)> =
        cluster.redis().command(&["XRANGE", "workspace:acme", "-", "+"]).await;
    entries.into_iter().map(|(id, mut fields)| (id, fields.remove("data").unwrap())).collect()
}

#[tokio::test]
async fn published_event_is_in_the_log() {
    let cluster = TestCluster::start(Bus::Redis).await;
    let payloads = ["{\"type\":\"A\"}", "two\nlines\r\n", "nul \0 and 🎉"];
    let mut expected = Vec::new();
    for payload in payloads {
        let id = cluster.broker.publish("acme", payload).await;
        expected.push((id, payload.to_owned()));
    }
    assert_eq!(log(&cluster).await, expected);
    let expires: i64 = cluster.redis().command(&["TTL", "workspace:acme"]).await;
    assert!((86_000..=86_400).contains(&expires), "{expires}");
}

/// The server does not accept an id before that of an entry which was deleted.
#[tokio::test]
async fn publication_follows_a_deleted_entry_ahead_of_the_clock() {
    let cluster = TestCluster::start(Bus::Redis).await;
    let (redis, ahead) = (cluster.redis(), "9999999999999-5");
    for id in ["1-0", ahead] {
        redis.command::<String>(&["XADD", "workspace:acme", id, "data", "x"]).await;
    }
    assert_eq!(redis.command::<u64>(&["XDEL", "workspace:acme", ahead]).await, 1);
    let id = cluster.broker.publish("acme", "{}").await;
    assert!(place(&id) > place(ahead), "{id}");
    assert!(place(&cluster.broker.publish("acme", "{}").await) > place(&id));
}

#[tokio::test]
async fn a_script_that_redis_forgot_is_sent_again() {
    let cluster = TestCluster::start(Bus::Redis).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    for number in 0..3 {
        cluster.redis().command::<String>(&["SCRIPT", "FLUSH"]).await;
        for half in ["a", "b"] {
            let payload = format!("{number}{half}");
            let id = cluster.broker.publish("acme", &payload).await;
            let event = client.next_event(DEADLINE).await;
            assert_eq!((event.id, event.data), (id, payload));
        }
    }
    assert_eq!(log(&cluster).await.len(), 6);
    // The script is sent along once after each flush; the second publish calls it by its hash.
    let stats = cluster.redis().info("commandstats").await;
    let calls = |command: &str| {
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).unwrap();
        line.split("calls=").nth(1).unwrap().split(',').next().unwrap().parse::<u64>().unwrap()
    };
    // Beside that, the epoch of the empty log was named, and the right to mark live events was
    // tried. The node announces itself each three seconds.
    assert_eq!(calls("evalsha"), 6);
    assert!(calls("eval") >= 3 + 2, "{stats}");
}

#[tokio::test]
async fn the_script_works_with_redis_cli() {
    let cluster = TestCluster::start(Bus::Redis).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let payload = r#"{"type":"CHANNEL_UPDATED","channel":{"id":"c1"}}"#;
    let publish = |arguments: &[&str]| {
        let mut command = Command::new("redis-cli");
        command.current_dir(repository()).args(["-p", &cluster.redis().port().to_string(), "--eval"]);
        command.args(["scripts/publish.lua", "workspace:acme", ",", payload]).args(arguments);
        run(&mut command).trim().trim_matches('"').to_owned()
    };
    for _ in 0..2 {
        let id = publish(&[]);
        let event = client.next_event(DEADLINE).await;
        assert_eq!((event.id, event.data.as_str()), (id, payload));
    }
    // With what the broker publishes it makes one order without gaps.
    let id = cluster.broker.publish("acme", "over HTTP").await;
    assert_eq!(client.next_event(DEADLINE).await.id, id);

    // A log is trimmed to about as many events as it shall keep, and to no fewer.
    for _ in 0..150 {
        cluster.broker.publish("acme", "filler").await;
    }
    let id = publish(&["10", "60"]);
    client.wait_for(DEADLINE, |event| event.id == id).await;
    let kept = log(&cluster).await.len();
    assert!((10..150).contains(&kept), "{kept}");
    let expires: i64 = cluster.redis().command(&["TTL", "workspace:acme"]).await;
    assert!((1..=60).contains(&expires), "{expires}");
    assert!(client.events().iter().all(|event| event.kind == "message"), "an order without gaps");
}

#[tokio::test]
async fn old_entries_are_trimmed_and_an_idle_log_expires() {
    let cluster = TestCluster::start_with(Bus::Redis, &[("retention.seconds", "60")]).await;
    let mut connection = cluster.connection().await;
    let mut old = redis::pipe();
    for number in 1..=250 {
        old.cmd("XADD").arg("workspace:acme").arg(format!("{number}-0")).arg("data").arg("old").ignore();
    }
    old.query_async::<()>(&mut connection).await.unwrap();
    let id = cluster.broker.publish("acme", "new").await;
    let kept = log(&cluster).await;
    assert_eq!(kept.last().unwrap().0, id);
    // Redis trims whole nodes of a stream, of a hundred entries each.
    assert!(kept.len() <= 101, "{} are kept", kept.len());
    let expires: i64 = cluster.redis().command(&["TTL", "workspace:acme"]).await;
    assert!((1..=60).contains(&expires), "{expires}");
}
