//! Events that cannot be delivered: a reset, a counter and a log line report them.

use crate::support::test_cluster::{on_both_buses, publish_live};
use crate::support::{Bus, Connect, DEADLINE, TestCluster};

on_both_buses!(
    too_large_an_event_causes_a_reset,
    event_with_wrong_utf8_causes_a_reset,
    wrong_envelope_causes_a_reset,
    flood_of_too_large_events_causes_one_reset_a_second,
);

/// Publishes an undeliverable event between two others, and checks which client gets which reset.
async fn check_drop(cluster: &TestCluster, undeliverable: &[u8], reason: &str) {
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let mut connection = cluster.connection().await;
    publish_live(&mut connection, "acme", "before").await;
    publish_live(&mut connection, "acme", undeliverable).await;
    publish_live(&mut connection, "acme", "after").await;

    let before = client.next_event(DEADLINE).await;
    assert_eq!(before.data, "before");
    let reset = client.next_event(DEADLINE).await;
    assert_eq!(reset.kind, "tidings.reset");
    let expected = serde_json::json!({ "reason": reason, "from": before.id, "head": reset.id });
    assert_eq!(reset.json(), expected);
    assert_eq!(client.next_event(DEADLINE).await.data, "after");

    // A client that lost its connection right before the reset gets one when it resumes.
    let mut back = cluster.broker.connect_with("acme", Connect::after(&before.id)).await;
    assert_eq!(back.connected().await.json()["resumed"], true);
    assert_eq!(back.next_event(DEADLINE).await, reset);
    assert_eq!(back.next_event(DEADLINE).await.data, "after");

    assert_eq!(cluster.broker.status().await["counters"]["eventsDropped"][reason], 1);
    assert_eq!(cluster.broker.status().await["counters"]["resets"][reason], 1);
    let counter = format!("tidings_events_dropped_total{{reason=\"{reason}\"}}");
    assert_eq!(cluster.broker.metric(&counter).await, Some(1.0));
    let log = cluster.broker.logged("dropped an event").await;
    let line = log.lines().find(|line| line.contains("dropped an event")).unwrap();
    assert!(line.contains("WARN") && line.contains("workspace=acme"), "{line}");
    assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
    assert!(line.contains(&format!("bytes={}", undeliverable.len())), "{line}");
}

async fn too_large_an_event_causes_a_reset(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("limits.event_bytes", "1000")]).await;
    check_drop(&cluster, &[b'x'; 1001], "too-large").await;
}

async fn event_with_wrong_utf8_causes_a_reset(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    check_drop(&cluster, b"caf\xe9", "not-utf8").await;
}

async fn wrong_envelope_causes_a_reset(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    check_drop(&cluster, b"tidings/1 by hand", "bad-envelope").await;
}

async fn flood_of_too_large_events_causes_one_reset_a_second(bus: Bus) {
    const EVENTS: usize = 20_000;
    const AT_ONCE: usize = 500;
    let cluster = TestCluster::start_with(bus, &[("limits.event_bytes", "1000")]).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let began = std::time::Instant::now();
    let mut connection = cluster.connection().await;
    let mut pipe = redis::pipe();
    for _ in 0..AT_ONCE {
        pipe.cmd("PUBLISH").arg("workspace:acme").arg(&[b'x'; 1001][..]);
    }
    for _ in 0..EVENTS / AT_ONCE {
        let _: Vec<u64> = pipe.query_async(&mut connection).await.unwrap();
    }
    publish_live(&mut connection, "acme", "end").await;
    client.wait_for(DEADLINE, |event| event.data == "end").await;
    let seconds = began.elapsed().as_secs();
    let events = client.events();
    let resets = events.iter().filter(|event| event.kind == "tidings.reset").count() as u64;
    // The first at once, and one before the event behind the flood.
    assert!((1..=seconds + 3).contains(&resets), "{resets} resets in {seconds} s");
    let last_but_one = &events[events.len() - 2];
    assert_eq!(last_but_one.kind, "tidings.reset", "whoever missed something is told before anything later");
    assert_eq!(cluster.broker.status().await["counters"]["eventsDropped"]["too-large"], EVENTS);
    let lines = cluster.broker.log().lines().filter(|line| line.contains("dropped an event")).count() as u64;
    assert!(lines <= seconds + 2, "{lines} lines in {seconds} s");
}

/// What only Redis can do: durable events that no broker accepted, and logs that grow behind a
/// broker's back.
#[tokio::test]
async fn entry_without_announcement_is_found() {
    let cluster = TestCluster::start(Bus::Redis).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    cluster.broker.publish("acme", "first").await;
    assert_eq!(client.next_event(DEADLINE).await.data, "first");

    // An entry without an announcement: the next announcement reveals it.
    let silent: String = cluster.redis().command(&["XADD", "workspace:acme", "*", "data", "silent"]).await;
    cluster.broker.publish("acme", "second").await;
    let event = client.next_event(DEADLINE).await;
    assert_eq!((event.data.as_str(), &event.id), ("silent", &silent));
    assert_eq!(client.next_event(DEADLINE).await.data, "second");

    // One that the log lost before any read: the announcement of the next cannot be connected.
    cluster.redis().command::<String>(&["XADD", "workspace:acme", "*", "data", "silent"]).await;
    cluster.redis().command::<i64>(&["XTRIM", "workspace:acme", "MAXLEN", "1"]).await;
    cluster.broker.publish("acme", "told").await;
    let reset = client.next_event(DEADLINE).await;
    assert_eq!((reset.kind.as_str(), reset.json()["reason"].as_str()), ("tidings.reset", Some("trimmed")));
    assert_eq!(client.next_event(DEADLINE).await.data, "told");

    // A durable event that is not UTF-8: its reset is at its place in the order.
    let script = include_str!("../../../scripts/publish.lua");
    let eval: &[&[u8]] = &[b"EVAL", script.as_bytes(), b"1", b"workspace:acme", b"\xff\xfe"];
    let id: String = cluster.redis().command(eval).await;
    let reset = client.next_event(DEADLINE).await;
    assert_eq!((reset.json()["reason"].as_str(), &reset.id), (Some("not-utf8"), &id));
    cluster.broker.publish("acme", "third").await;
    assert_eq!(client.next_event(DEADLINE).await.data, "third");

    // Plain commands: an empty message says that there is something in the log.
    let mut connection = cluster.connection().await;
    for payload in ["fourth", "fifth"] {
        let mut transaction = redis::pipe();
        transaction.atomic().cmd("XADD").arg("workspace:acme").arg("MAXLEN").arg("~").arg(1000);
        transaction.arg("*").arg("data").arg(payload).cmd("PUBLISH").arg("workspace:acme").arg("");
        let (id, _): (String, u64) = transaction.query_async(&mut connection).await.unwrap();
        let event = client.next_event(DEADLINE).await;
        assert_eq!((event.data.as_str(), event.id), (payload, id));
    }
    // An entry that no publisher of events wrote.
    cluster.redis().command::<String>(&["XADD", "workspace:acme", "*", "other", "field"]).await;
    cluster.publish_live("acme", "").await;
    assert_eq!(client.next_event(DEADLINE).await.json()["reason"], "bad-entry");
    // A message that says so for nothing is no event.
    cluster.publish_live("acme", "").await;
    cluster.publish_live("acme", "live").await;
    assert_eq!(client.next_event(DEADLINE).await.data, "live");
}
