//! Slots that move, and slots that are left on the move.

use std::time::{Duration, Instant};

use redis::{Pipeline, Value};

use super::{WORKSPACES, broker, client, receives};
use crate::support::{DEADLINE, RedisCluster, eventually, http};

const WORKSPACE: &str = WORKSPACES[1];
const CHANNEL: &str = "workspace:ledger-3";

/// The server that gets the slot announces events, and no node is subscribed there.
#[tokio::test]
async fn events_of_a_migrating_slot_arrive_within_a_second() {
    let cluster = RedisCluster::start().await;
    let broker = broker(&cluster).await;
    broker.publish(WORKSPACE, "first").await;
    let mut client = client(&broker, WORKSPACE).await;
    let slot = cluster.slot(CHANNEL).await;
    cluster.begin_move(&[slot], 1, 2).await;
    cluster.move_keys(&[slot], 1, 2).await;
    let epoch = format!("{{{CHANNEL}}}/epoch");
    let mut connection = cluster.servers[2].connection().await.unwrap();
    let mut times = Vec::new();
    for number in 0..8 {
        let payload = format!("number {number}");
        let mut publish = Pipeline::new();
        publish.cmd("ASKING").ignore();
        publish.cmd("FCALL").arg("tidings_publish").arg(2).arg(CHANNEL).arg(&epoch).arg(&payload);
        let began = Instant::now();
        let _: (String,) = publish.query_async(&mut connection).await.unwrap();
        receives(&mut client, &payload).await;
        times.push(began.elapsed());
    }
    times.sort();
    assert!(times[times.len() / 2] < Duration::from_secs(1), "{times:?}");
    assert_eq!(broker.status().await["bus"]["cluster"]["slotsMigrating"], 1);
    cluster.end_move(&[slot], 1, 2).await;
    broker.publish(WORKSPACE, "last").await;
    receives(&mut client, "last").await;
    let data: Vec<_> = client.application_data();
    assert_eq!(data.len(), 9, "{data:?}");
    assert!(client.events().iter().all(|event| event.kind != "tidings.reset"), "{:?}", client.events());
}

/// One key publishes once: before a move, while the keys are on both sides, and after it.
#[tokio::test]
async fn idempotency_key_gives_one_id_through_a_move() {
    let cluster = RedisCluster::start().await;
    let broker = broker(&cluster).await;
    let headers = [("idempotency-key", "once")];
    let target = format!("/api/workspaces/{WORKSPACE}/events");
    let publish = async || {
        let response = http::request(broker.address(), "POST", &target, &headers, "once").await;
        assert!([200, 503].contains(&response.status.as_u16()), "{}: {}", response.status, response.text());
        let header = response.headers.get("retry-after").is_some();
        assert!(response.status == 200 || header, "a 503 has Retry-After");
        (response.status == 200).then(|| response.json()["id"].as_str().unwrap().to_owned())
    };
    let first = publish().await.unwrap();
    let slot = cluster.slot(CHANNEL).await;
    cluster.begin_move(&[slot], 1, 2).await;
    assert_eq!(publish().await.as_ref(), Some(&first), "all keys are at the source");
    // The log alone: the server sends TRYAGAIN.
    let port = cluster.servers[2].port().to_string();
    let migrate = ["MIGRATE", "127.0.0.1", &port, CHANNEL, "0", "5000", "AUTH2", "harness", "harness"];
    cluster.servers[1].command::<Value>(&migrate).await;
    assert_eq!(publish().await, None, "nothing is published while the keys are on both sides");
    cluster.move_keys(&[slot], 1, 2).await;
    assert_eq!(publish().await.as_ref(), Some(&first), "all keys are at the target");
    let new = broker.try_publish(WORKSPACE, "a new key").await;
    assert!(new.is_some(), "the target has the log, and accepts new keys");
    assert_eq!(broker.try_publish(WORKSPACE, "a new key").await, new);
    cluster.end_move(&[slot], 1, 2).await;
    assert_eq!(publish().await.as_ref(), Some(&first));
    assert_eq!(broker.try_publish(WORKSPACE, "a new key").await, new);
    let length: u64 = cluster.servers[2].command(&["XLEN", CHANNEL]).await;
    assert_eq!(length, 2);
}

/// A failover without a `sunsubscribe`: the replica that was a primary accepts the subscriptions.
#[tokio::test]
async fn demoted_primary_keeps_no_subscription() {
    let cluster = RedisCluster::start().await;
    let broker = broker(&cluster).await;
    let mut client = client(&broker, WORKSPACE).await;
    cluster.fail_over(4, "").await;
    eventually("the new primary has the subscription", DEADLINE, async || {
        let numbers: (String, u64) = cluster.servers[4].command(&["PUBSUB", "SHARDNUMSUB", CHANNEL]).await;
        numbers.1 == 1
    })
    .await;
    cluster.servers[4].command::<Value>(&["FCALL", "tidings_publish", "1", CHANNEL, "after"]).await;
    receives(&mut client, "after").await;
    broker.ready().await;
}
