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
    // The next announcement removes most of them, before or after this list.
    let unreadable = list["unreadable"].as_u64().unwrap();
    assert!((1000..1200).contains(&unreadable), "at most 1,024 are read: {unreadable}");
    assert!(ids.iter().all(|id| of_node(&list, id)["ready"] == true), "{list}");
    eventually("the next announcement bounds the set", DEADLINE, async || {
        server.command::<u64>(&["ZCARD", NODES]).await <= 1024
    })
    .await;
}

/// Announcements in the right form can be large and many.
#[tokio::test]
async fn large_announcements_are_left_out_and_counted() {
    let server = RedisServer::start().await;
    let [one] = fleet(&server, &[]).await;
    let announcement = |number: usize, bytes: usize| {
        let text = json!({
            "node": format!("{number:0>8}"), "version": "x".repeat(bytes), "commit": "", "startedMs": 1,
            "ready": true, "notReadyBecause": [], "connections": 1, "subscribers": 1, "workspaces": 1,
            "url": null,
        });
        text.to_string().into_bytes()
    };
    fill(&server, NODES, std::iter::once(announcement(0, 70_000))).await;
    let list = ask(&one, "GET", "/api/console/nodes", "").await.json();
    let counts = (list["nodes"].as_array().unwrap().len(), list["unreadable"].as_u64());
    assert_eq!(counts, (1, Some(1)), "a text has at most 64 KiB");

    fill(&server, NODES, (1..100).map(|number| announcement(number, 60_000))).await;
    let list = ask(&one, "GET", "/api/console/nodes", "").await.json();
    let nodes = list["nodes"].as_array().unwrap().len();
    assert!((50..75).contains(&nodes), "all texts have at most 4 MiB together: {nodes}");
    assert!(list["unreadable"].as_u64().unwrap() > 1);
    assert!(nodes > 1 && list["nodes"].to_string().contains(&id(&one).await));
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

/// Questions that arrive one by one fill no queue, and are bounded by the second.
#[tokio::test]
async fn rate_of_replies_is_bounded() {
    let server = RedisServer::start().await;
    let [_one] = fleet(&server, &[]).await;
    let mut connection = server.connection().await.unwrap();
    let began = Instant::now();
    let mut ask = async |id: String| {
        let question = json!({ "ask": { "id": id, "nodes": {} } }).to_string();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg("tidings:control").arg(question);
        publish.query_async::<u64>(&mut connection).await.unwrap();
    };
    let mut asked = 0_u64;
    while asked < 500 || began.elapsed() < Duration::from_secs(1) {
        ask(format!("a{asked:0>15}")).await;
        asked += 1;
    }
    let mut number = 0;
    eventually("a later question gets a reply", DEADLINE, async || {
        number += 1;
        ask(format!("b{number:0>15}")).await;
        !server.command::<Vec<String>>(&["KEYS", "tidings/workspace:replies/b*"]).await.is_empty()
    })
    .await;
    let seconds = began.elapsed().as_secs() + 1;
    let replies: Vec<String> = server.command(&["KEYS", "tidings/workspace:replies/a*"]).await;
    let bound = 20 * (seconds + 1);
    assert!((1..=bound).contains(&(replies.len() as u64)), "{} of {asked} in {seconds} s", replies.len());
}
