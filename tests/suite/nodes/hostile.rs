//! Other programs that write to the control channel and to the sets of announcements and replies.

use std::time::{Duration, Instant};

use redis::Value;
use serde_json::json;

use super::{ask, fleet, id, of_node};
use crate::support::{DEADLINE, RedisServer, eventually};

const NODES: &str = "tidings/workspace:nodes";

/// Members that expire in an hour, long after those of the nodes.
async fn fill(server: &RedisServer, key: &str, members: impl Iterator<Item = Vec<u8>>) {
    let mut connection = server.connection().await.unwrap();
    let until = 4_000_000_000_000_u64;
    let mut pipeline = redis::pipe();
    for member in members {
        pipeline.cmd("ZADD").arg(key).arg(until).arg(member).ignore();
    }
    pipeline.query_async::<()>(&mut connection).await.unwrap();
}

#[tokio::test]
async fn hostile_announcements_are_bounded_and_counted() {
    let server = RedisServer::start().await;
    let [one, other] = fleet(&server, &[]).await;
    let ids = [id(&one).await, id(&other).await];
    let large = std::iter::once(vec![b'x'; 100_000]);
    let texts = ["", "[", "{}", "null", "\u{1b}[31m"].map(|text| text.as_bytes().to_vec());
    fill(&server, NODES, large.chain(texts)).await;
    let list = ask(&one, "GET", "/api/console/nodes", "").await.json();
    assert_eq!(
        (list["nodes"].as_array().unwrap().len(), list["unreadable"].as_u64()),
        (2, Some(6)),
        "{list}"
    );

    fill(&server, NODES, (0..10_000).map(|number| format!("{{{number}").into_bytes())).await;
    let began = Instant::now();
    let response = ask(&one, "GET", "/api/console/nodes", "").await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let list = response.json();
    assert!(list["unreadable"].as_u64().unwrap() >= 1000, "{list}");
    assert!(ids.iter().all(|id| of_node(&list, id)["ready"] == true), "{list}");
    eventually("the next announcement bounds the set", DEADLINE, async || {
        server.command::<u64>(&["ZCARD", NODES]).await <= 1024
    })
    .await;
}

/// A key of another type hides no node from itself.
#[tokio::test]
async fn key_of_another_type_is_reported() {
    let server = RedisServer::start().await;
    let [one] = fleet(&server, &[]).await;
    server.command::<Value>(&["DEL", NODES]).await;
    server.command::<Value>(&["SET", NODES, "text"]).await;
    let list = ask(&one, "GET", "/api/console/nodes", "").await.json();
    assert_eq!(list["nodes"].as_array().unwrap().len(), 1, "{list}");
    assert!(list["error"].as_str().unwrap().contains("WRONGTYPE"), "{list}");
}

#[tokio::test]
async fn hostile_questions_are_ignored_and_disconnects_work() {
    let server = RedisServer::start().await;
    let [one] = fleet(&server, &[]).await;
    let mut client = one.connect("acme").await;
    client.connected().await;
    for question in [
        r#"{"ask":"#.to_owned(),
        r#"{"ask":{"id":"../../x","nodes":{}}}"#.to_owned(),
        r#"{"ask":{"id":"abcdefghijklmnop","disconnect":{"workspace":"acme"}}}"#.to_owned(),
        format!(r#"{{"ask":{{"id":"{}"}}}}"#, "x".repeat(100_000)),
    ] {
        server.publish("tidings:control", &question).await;
    }
    one.logged("a question is not valid").await;
    eventually("all are counted", DEADLINE, async || {
        one.metric("tidings_control_commands_invalid_total").await == Some(4.0)
    })
    .await;
    assert_eq!(client.end(), None);
    server.publish("tidings:control", r#"{"disconnect":{"workspace":"acme"}}"#).await;
    client.wait_end(DEADLINE).await;
}

/// A flood of valid questions costs a bounded number of replies, and the node serves on.
#[tokio::test]
async fn flood_of_questions_is_bounded() {
    let server = RedisServer::start().await;
    let [one] = fleet(&server, &[]).await;
    let mut connection = server.connection().await.unwrap();
    let mut pipeline = redis::pipe();
    let questions = 2_000_u32;
    for number in 0..questions {
        let question = json!({ "ask": { "id": format!("{number:0>16}"), "nodes": {} } }).to_string();
        pipeline.cmd("PUBLISH").arg("tidings:control").arg(question).ignore();
    }
    pipeline.query_async::<()>(&mut connection).await.unwrap();
    let mut client = one.connect("acme").await;
    client.connected().await;
    one.publish("acme", "x").await;
    client.application_event().await;
    let replies: Vec<String> = server.command(&["KEYS", "tidings/workspace:replies/0*"]).await;
    assert!((1..=200).contains(&replies.len()), "{} replies", replies.len());
    eventually("the node replies again", DEADLINE, async || {
        ask(&one, "GET", "/api/console/nodes", "").await.json()["silent"] == json!([])
    })
    .await;
}
