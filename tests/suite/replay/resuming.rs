//! Streams that resume.

use super::{broker_on, numbers, read};
use crate::support::test_cluster::on_both_buses;
use crate::support::{Broker, BrokerOptions, Bus, Connect, DEADLINE, RedisServer, TestCluster, eventually};

on_both_buses!(
    events_outside_the_ring_come_from_the_log,
    a_first_connection_may_begin_in_the_past,
    trimmed_position_causes_a_reset,
    new_epoch_proves_nothing_from_before_it,
    position_of_an_empty_workspace_is_good_on_every_node,
    first_event_after_a_log_has_expired_is_delivered,
    id_that_an_earlier_log_reached_names_its_epoch,
);

async fn publish(broker: &Broker, range: std::ops::Range<u32>) -> Vec<String> {
    let mut ids = Vec::new();
    for number in range {
        ids.push(broker.publish("acme", &number.to_string()).await);
    }
    ids
}

async fn events_outside_the_ring_come_from_the_log(bus: Bus) {
    let settings = [("ring.events", "3"), ("replay.page_events", "4"), ("ring.linger_seconds", "0")];
    let cluster = TestCluster::start_with(bus, &settings).await;
    let mut first = cluster.broker.connect("acme").await;
    first.connected().await;
    let id = cluster.broker.publish("acme", "seen").await;
    assert_eq!(first.application_event().await.id, id);
    drop(first);
    eventually("the workspace is forgotten", DEADLINE, async || {
        cluster.broker.status().await["workspaces"] == 0
    })
    .await;
    publish(&cluster.broker, 0..20).await;
    let mut back = cluster.broker.connect_with("acme", Connect::after(&id)).await;
    assert_eq!(back.connected().await.json()["resumed"], true);
    assert_eq!(read(&mut back, 20).await, numbers(0..20));
    publish(&cluster.broker, 20..22).await;
    assert_eq!(read(&mut back, 2).await, numbers(20..22));
    assert!(back.events().iter().all(|event| !event.kind.starts_with("tidings.re")), "{:?}", back.events());
}

async fn a_first_connection_may_begin_in_the_past(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut ids = publish(&cluster.broker, 0..1).await;
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let begun = clock();
    eventually("the clock goes on", DEADLINE, async || clock() > begun + 1).await;
    ids.extend(publish(&cluster.broker, 1..6).await);
    let begin = async |query: &str| {
        let mut client = cluster.broker.connect_with("acme", Connect::query(query)).await;
        let resumed = client.connected().await.json()["resumed"].as_bool().unwrap();
        (client, resumed)
    };
    let (mut newest, _) = begin("last=2").await;
    assert_eq!(read(&mut newest, 2).await, numbers(4..6));
    let second: u64 = ids[1].split_once('-').unwrap().0.parse().unwrap();
    let first: u64 = ids[0].split_once('-').unwrap().0.parse().unwrap();
    assert!(second > first, "the clock went on between the two");
    let (mut everything, resumed) = begin(&format!("since={second}")).await;
    assert!(resumed, "the log has an older event");
    assert_eq!(read(&mut everything, 5).await, numbers(1..6));
    let (mut after, resumed) = begin(&format!("last_event_id={}", ids[3])).await;
    assert!(resumed);
    assert_eq!(read(&mut after, 2).await, numbers(4..6));
    let (mut future, resumed) = begin("since=2100-01-01T00:00:00Z").await;
    assert!(resumed);
    publish(&cluster.broker, 6..7).await;
    for client in [&mut newest, &mut everything, &mut after, &mut future] {
        assert_eq!(read(client, 1).await, ["6"]);
    }
}

/// Retention ends a log, and the next event begins another one.
async fn new_epoch_proves_nothing_from_before_it(bus: Bus) {
    let cluster =
        TestCluster::start_with(bus, &[("retention.seconds", "1"), ("ring.linger_seconds", "0")]).await;
    let before = cluster.broker.publish("acme", "1").await;
    cluster.log_ends("acme").await;
    let second = cluster.broker.publish("acme", "2").await;
    let milliseconds = before.split_once('-').unwrap().0;
    for query in [
        "last_event_id=0-0".to_owned(),
        format!("last_event_id={before}"),
        format!("since={milliseconds}"),
        format!("since={}", second.split_once('-').unwrap().0),
    ] {
        let mut client = cluster.broker.connect_with("acme", Connect::query(&query)).await;
        assert_eq!(client.connected().await.json()["resumed"], false, "{query}");
        let reset = client.event_named("tidings.reset").await;
        assert_eq!(reset.json()["reason"], "trimmed", "{query}");
        assert_eq!(reset.json()["head"], second, "{query}");
    }
}

/// A client that connects before the first event, and resumes after it.
async fn position_of_an_empty_workspace_is_good_on_every_node(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("ring.linger_seconds", "0")]).await;
    let mut client = cluster.broker.connect("acme").await;
    let position = client.connected().await.id.clone();
    drop(client);
    eventually("the workspace is forgotten", DEADLINE, async || {
        cluster.broker.status().await["workspaces"] == 0
    })
    .await;
    publish(&cluster.broker, 0..3).await;
    let mut back = cluster.broker.connect_with("acme", Connect::after(&position)).await;
    assert_eq!(back.connected().await.json()["resumed"], true, "{position}");
    assert_eq!(read(&mut back, 3).await, numbers(0..3));
    assert!(back.events().iter().all(|event| !event.kind.starts_with("tidings.re")), "{:?}", back.events());
}

/// The clock was an hour ahead, and was set right before the next log began.
async fn id_that_an_earlier_log_reached_names_its_epoch(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("ring.linger_seconds", "0")]).await;
    let mut connection = cluster.connection().await;
    let mut command = async |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        command.query_async::<redis::Value>(&mut connection).await.unwrap()
    };
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    command(&["XADD", "workspace:acme", &format!("{}-0", now + 3_600_000), "data", "ahead"]).await;
    cluster.broker.publish("acme", "behind it").await;
    assert_eq!(read(&mut client, 2).await, ["ahead", "behind it"]);
    command(&["DEL", "workspace:acme"]).await;
    let ids = publish(&cluster.broker, 0..3).await;
    assert_eq!(read(&mut client, 3).await, numbers(0..3));
    assert!(client.events().iter().all(|event| event.kind != "tidings.reset"), "{:?}", client.events());
    let events = client.events();
    let place = &events.iter().find(|event| event.data == "0").unwrap().id;
    assert!(place.starts_with(&format!("{}.", ids[0])), "{place}");
    drop(client);
    eventually("the workspace is forgotten", DEADLINE, async || {
        cluster.broker.status().await["workspaces"] == 0
    })
    .await;
    let mut back = cluster.broker.connect_with("acme", Connect::after(place)).await;
    assert_eq!(back.connected().await.json()["resumed"], true);
    assert_eq!(read(&mut back, 2).await, numbers(1..3));
    // The id alone may be one of the earlier log.
    let mut back = cluster.broker.connect_with("acme", Connect::after(&ids[0])).await;
    assert_eq!(back.connected().await.json()["resumed"], false);
    assert_eq!(back.event_named("tidings.reset").await.json()["reason"], "trimmed");
}

async fn first_event_after_a_log_has_expired_is_delivered(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("retention.seconds", "1")]).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    for number in 0..3 {
        publish(&cluster.broker, number..number + 1).await;
        assert_eq!(read(&mut client, 1).await, numbers(number..number + 1));
        cluster.log_ends("acme").await;
    }
    assert!(client.events().iter().all(|event| event.kind != "tidings.reset"), "{:?}", client.events());
}

async fn trimmed_position_causes_a_reset(bus: Bus) {
    let settings = [("retention.events", "2"), ("retention.bytes", "3"), ("ring.events", "2")];
    let cluster = TestCluster::start_with(bus, &settings).await;
    let ids = publish(&cluster.broker, 0..9).await;
    let mut back = cluster.broker.connect_with("acme", Connect::after(&ids[0])).await;
    let connected = back.connected().await;
    assert_eq!((connected.json()["resumed"].as_bool(), connected.id.as_str()), (Some(false), ""));
    let reset = back.event_named("tidings.reset").await;
    assert_eq!(reset.json()["reason"], "trimmed");
    assert_eq!((reset.json()["from"].as_str(), &reset.id), (Some(ids[0].as_str()), &ids[8]));
}

/// A laptop is closed and opened again, and reaches another node.
#[tokio::test]
async fn any_node_replays_missed_events() {
    let server = RedisServer::start().await;
    let (one, two) = (broker_on(&server).await, broker_on(&server).await);
    let mut client = one.connect("acme").await;
    let before_anything = client.connected().await.id;
    publish(&one, 0..1).await;
    let position = client.application_event().await.id;
    drop(client);
    publish(&two, 1..4).await;
    let mut back = two.connect_with("acme", Connect::after(&position)).await;
    assert_eq!(back.connected().await.json()["resumed"], true);
    assert_eq!(read(&mut back, 3).await, numbers(1..4));
    publish(&one, 4..5).await;
    assert_eq!(read(&mut back, 1).await, ["4"]);

    // So is the place before the first event.
    let mut back = two.connect_with("acme", Connect::after(&before_anything)).await;
    assert_eq!(back.connected().await.json()["resumed"], true);
    assert_eq!(read(&mut back, 5).await, numbers(0..5));
}

/// A client that remains connected misses nothing when Redis goes away for a moment, and gets no
/// reset.
#[tokio::test]
async fn an_interruption_is_filled_from_the_log() {
    let server = RedisServer::start().await;
    let broker = broker_on(&server).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    publish(&broker, 0..1).await;
    assert_eq!(read(&mut client, 1).await, ["0"]);
    for number in 1..6 {
        server.kill_subscribers().await;
        // Published without a subscriber, or while the link is being made again.
        let script = include_str!("../../../scripts/publish.lua");
        server.command::<String>(&["EVAL", script, "1", "workspace:acme", &number.to_string()]).await;
        assert_eq!(read(&mut client, 1).await, [number.to_string()]);
    }
    assert!(client.events().iter().all(|event| event.kind != "tidings.reset"), "{:?}", client.events());
}

/// An entry that was never announced comes before the next one.
#[tokio::test]
async fn a_gap_is_filled_before_the_next_event() {
    let cluster = TestCluster::start(Bus::Redis).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    publish(&cluster.broker, 0..1).await;
    for number in 1..4 {
        cluster
            .redis()
            .command::<String>(&["XADD", "workspace:acme", "*", "data", &number.to_string()])
            .await;
    }
    publish(&cluster.broker, 4..5).await;
    assert_eq!(read(&mut client, 5).await, numbers(0..5));
}

/// A key of the wrong type, and a log that is deleted.
#[tokio::test]
async fn wrong_or_deleted_log_causes_a_reset() {
    let cluster = TestCluster::start(Bus::Redis).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let ids = publish(&cluster.broker, 0..1).await;
    assert_eq!(read(&mut client, 1).await, ["0"]);
    cluster.redis().command::<i64>(&["DEL", "workspace:acme"]).await;
    cluster.redis().command::<String>(&["SET", "workspace:acme", "not a stream"]).await;
    cluster.redis().kill_subscribers().await;
    let reset = client.event_named("tidings.reset").await;
    assert_eq!(reset.json()["reason"], "log-unreadable");
    cluster.redis().command::<i64>(&["DEL", "workspace:acme"]).await;
    cluster.redis().kill_subscribers().await;
    let reset = client.wait_for(DEADLINE, |event| event.data.contains("trimmed")).await;
    assert_eq!(reset.json()["from"], ids[0]);
    publish(&cluster.broker, 1..2).await;
    client.wait_for(DEADLINE, |event| event.data == "1").await;
}

#[tokio::test]
async fn replay_waits_for_redis_and_says_so() {
    let mut server = RedisServer::start().await;
    let options = BrokerOptions::redis(&server).set("redis.confirm_seconds", "0.5");
    let broker = Broker::start(options).await;
    broker.ready().await;
    let id = broker.publish("acme", "0").await;
    server.stop();
    let mut client = broker.connect_with("acme", Connect::after(&id)).await;
    assert_eq!(client.event_named("tidings.reconnect").await.json()["reason"], "unavailable");
}
