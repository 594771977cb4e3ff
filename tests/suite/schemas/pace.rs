//! Checks that take long hold up no stream and no end of the program.

use std::time::Duration;

use serde_json::json;

use super::GOOD;
use crate::support::directory::Directory;
use crate::support::http;
use crate::support::{Broker, BrokerOptions, DEADLINE};

const EVENTS: &str = "/api/workspaces/acme/events";

fn options(schema: &str) -> (Directory, BrokerOptions) {
    let directory = super::events();
    directory.write("A.json", schema);
    let path = directory.path().display().to_string();
    let options = BrokerOptions::embedded().set("schemas.path", path).set("schemas.mode", "enforce");
    (directory, options.set("sse.heartbeat_seconds", "0.1").set("server.drain_seconds", "0"))
}

/// Engines that backtrack take longer than the universe for these patterns and this text.
#[tokio::test]
async fn large_text_with_a_bad_pattern_is_refused_beside_streams() {
    let schema = json!({
        "properties": {
            "type": { "const": "A" },
            "text": { "allOf": [{ "pattern": "^(a+)+$" }, { "pattern": "^(a|a)*$" }, { "pattern": "(a*)*b" }] },
        },
    });
    let (_directory, options) = options(&schema.to_string());
    let broker = Broker::start_ready(options).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    let event = json!({ "type": "A", "text": format!("{}!", "a".repeat(250_000)) }).to_string();
    let posts = (0..8).map(|_| http::request(broker.address(), "POST", EVENTS, &[], event.clone()));
    let posts = futures_util::future::join_all(posts);
    let (responses, ()) = tokio::join!(posts, async {
        for _ in 0..10 {
            client.wait_for(DEADLINE, |event| event.kind == "tidings.heartbeat").await;
        }
    });
    for response in responses {
        assert_eq!(response.status, 422, "{response:?}");
        assert!(response.text().contains("at /text, `pattern` is ^(a+)+$"), "{response:?}");
    }
}

/// The check of a schema that refers to itself twice doubles its time with each level of an event.
#[tokio::test]
async fn check_without_end_holds_up_neither_streams_nor_the_end() {
    let next = json!({ "$ref": "#/$defs/x" });
    let schema = json!({
        "properties": { "type": { "const": "A" }, "a": next },
        "$defs": { "x": {
            "type": "object",
            "anyOf": [{ "properties": { "a": next } }, { "properties": { "a": next, "b": true } }],
        } },
    });
    let (_directory, options) = options(&schema.to_string());
    let mut broker = Broker::start_ready(options.set("server.body_timeout_seconds", "1")).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    let event = format!(r#"{{"type":"A","a":{}1{}}}"#, r#"{"a":"#.repeat(60), "}".repeat(60));
    let posts = (0..8).map(|_| http::request(broker.address(), "POST", EVENTS, &[], event.clone()));
    let posts = futures_util::future::join_all(posts);
    let (responses, ()) = tokio::join!(posts, async {
        for _ in 0..10 {
            client.wait_for(DEADLINE, |event| event.kind == "tidings.heartbeat").await;
        }
    });
    for response in responses {
        assert_eq!(response.status, 503, "{response:?}");
        assert!(response.text().contains("nothing was published"), "{response:?}");
    }
    // Over Redis an event is delivered without its check.
    let mut connection = redis::Client::open(format!("redis://{}?protocol=resp3", broker.embedded()))
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    for payload in [&event[..], GOOD] {
        let _: u64 = redis::cmd("PUBLISH")
            .arg("workspace:acme")
            .arg(payload)
            .query_async(&mut connection)
            .await
            .unwrap();
        client.wait_for(DEADLINE, |event| event.data == payload).await;
    }
    drop(connection);
    assert_eq!(broker.terminate(Duration::from_secs(40)).await, Some(0), "{}", broker.log());
}
