//! What questions and replies hold, as a program on the bus sees them.

use std::sync::Arc;

use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{ask, fleet, freeze, id};
use crate::support::commands::run_tidings_with_input;
use crate::support::token::{JWT, bearer, token};
use crate::support::{Connect, DEADLINE, RedisServer, eventually, http};

/// The id of the questions of these tests.
const QUESTION: &str = "abcdefgh01234567";

const REPLIES: &str = "tidings/workspace:replies/abcdefgh01234567";

/// Asks all nodes as any program on the bus can; returns the replies as they are stored.
async fn replies(server: &RedisServer, nodes: usize, subject: &str, question: Value) -> Vec<String> {
    server.command::<redis::Value>(&["DEL", REPLIES]).await;
    let message = json!({ "ask": { "id": QUESTION, subject: question } });
    server.publish("tidings:control", &message.to_string()).await;
    let mut found = Vec::new();
    eventually("all nodes reply", DEADLINE, async || {
        found = server.command::<Vec<String>>(&["ZRANGE", REPLIES, "0", "-1"]).await;
        found.len() == nodes
    })
    .await;
    found
}

fn parsed(reply: &str) -> Value {
    serde_json::from_str(reply).unwrap()
}

/// Listens to the control channel; returns the messages so far at any time.
async fn control_messages(server: &RedisServer) -> Arc<Mutex<Vec<String>>> {
    let client = redis::Client::open(server.url()).unwrap();
    let mut channel = client.get_async_pubsub().await.unwrap();
    channel.subscribe("tidings:control").await.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let messages = Arc::clone(&heard);
    tokio::spawn(async move {
        let mut stream = channel.on_message();
        while let Some(message) = stream.next().await {
            messages.lock().push(message.get_payload::<String>().unwrap_or_default());
        }
    });
    heard
}

/// A listener on the bus learns neither token nor ticket, nor a text that could be one.
#[tokio::test]
async fn secrets_are_in_no_question() {
    let server = RedisServer::start().await;
    let [one, _other] = fleet(&server, &JWT).await;
    let heard = control_messages(&server).await;
    let (valid, expired) =
        (token("ann", &["acme"], 60, &json!({})), token("ann", &["acme"], -60, &json!({})));
    let ticket = "0123456789abcdef".repeat(4);
    let requests = [
        json!({ "workspace": "acme", "token": valid }),
        json!({ "workspace": "acme", "token": expired }),
        json!({ "workspace": "acme", "ticket": ticket }),
        json!({ "workspace": "acme", "lastEventId": ticket }),
        json!({ "workspace": "acme", "lastEventId": valid }),
    ];
    for request in &requests {
        let response = ask(&one, "POST", "/api/console/explain", &request.to_string()).await;
        assert_eq!(response.status, 200, "{:?}", response.body);
    }
    let url = server.url();
    let settings = [&JWT[..], &[("redis.url", url.as_str())]].concat();
    for (flag, secret) in [("--token-file", &valid), ("--token-file", &expired), ("--ticket-file", &ticket)] {
        run_tidings_with_input(&["explain", "acme", flag, "-"], &settings, secret).await.success();
    }
    let questions = || heard.lock().iter().filter(|text| text.contains("explain")).count();
    eventually("all questions are heard", DEADLINE, async || questions() == requests.len() + 3).await;
    let heard = heard.lock().concat();
    assert!(heard.contains("ann") && heard.contains(r#""after":"?""#), "{heard}");
    // All tokens begin alike, and a question has the beginning of a long text at most.
    for secret in [&valid[..20], &ticket[..20], "eyJ"] {
        assert!(!heard.contains(secret), "{heard}");
    }
}

/// A private event is in a reply without its payload and its users, and so are all others.
#[tokio::test]
async fn payloads_are_in_no_reply() {
    let server = RedisServer::start().await;
    let [one] = fleet(&server, &JWT).await;
    let token = token("ann", &["acme"], 60, &json!({}));
    let options = Connect::default().header("authorization", &bearer(&token));
    let mut client = one.connect_with("acme", options).await;
    client.connected().await;
    let mut events = Vec::new();
    for to in [&["--to", "ann", "--to", "zoe"][..], &[]] {
        let arguments = [&["publish", "acme", "a secret payload"], to].concat();
        events.push(super::run(&server, &arguments).await.success().trim().to_owned());
        client.application_event().await;
    }
    for event in &events {
        for (subject, question) in [
            ("trace", json!({ "workspace": "acme", "event": event })),
            ("find", json!({ "event": event })),
            ("explain", json!({ "workspace": "acme", "after": event })),
        ] {
            let [reply] = &replies(&server, 1, subject, question).await[..] else { panic!() };
            assert!(!reply.contains("secret") && !reply.contains("zoe"), "{reply}");
        }
    }
    let [reply] = &replies(&server, 1, "trace", json!({ "workspace": "acme", "event": events[0] })).await[..]
    else {
        panic!()
    };
    assert_eq!(parsed(reply)["trace"]["private"], true, "{reply}");
    let expires: i64 = server.command(&["PTTL", REPLIES]).await;
    assert!((1..=10_000).contains(&expires), "a reply expires within ten seconds: {expires} ms");
}

/// Without payloads, the console shows no event types either.
#[tokio::test]
async fn types_of_streams_are_in_no_reply_without_payloads() {
    for (payloads, types) in [("true", json!(["SECRET"])), ("false", json!(null))] {
        let server = RedisServer::start().await;
        let [one] = fleet(&server, &[("admin.payloads", payloads)]).await;
        let mut client = one.connect_with("acme", Connect::query("types=SECRET")).await;
        client.connected().await;
        let [reply] = &replies(&server, 1, "explain", json!({ "workspace": "acme" })).await[..] else {
            panic!()
        };
        let stream = &parsed(reply)["explain"]["streams"][0];
        assert_eq!((&stream["types"], &stream["filtered"]), (&types, &json!(true)), "{reply}");
    }
}

#[tokio::test]
async fn lists_of_a_reply_are_bounded_and_say_so() {
    let server = RedisServer::start().await;
    let [one] = fleet(&server, &[("log.level", "info")]).await;
    let mut clients = Vec::new();
    for number in 0..12 {
        let workspace = format!("w{number}");
        let mut client = one.connect(&workspace).await;
        client.connected().await;
        let channel = format!("workspace:{workspace}");
        let id = "1795373098811-7";
        server.command::<String>(&["XADD", &channel, id, "data", "x"]).await;
        server.publish(&channel, "").await;
        client.application_event().await;
        clients.push(client);
    }
    let [reply] = &replies(&server, 1, "find", json!({ "event": "1795373098811-7" })).await[..] else {
        panic!()
    };
    assert_eq!(parsed(reply)["found"].as_array().unwrap().len(), 10, "{reply}");
    for _ in 0..55 {
        let mut client = one.connect("acme").await;
        client.connected().await;
        clients.push(client);
    }
    for _ in 0..25 {
        let refused =
            http::request(one.address(), "GET", "/api/workspaces/acme/events?last=x", &[], "").await;
        assert_eq!(refused.status, 400);
    }
    let [reply] = &replies(&server, 1, "explain", json!({ "workspace": "acme" })).await[..] else { panic!() };
    let explained = &parsed(reply)["explain"];
    let count = |name: &str| explained[name].as_array().unwrap().len();
    assert_eq!((count("streams"), &explained["leftOut"]), (50, &json!(5)), "{reply}");
    assert_eq!(count("refusals"), 20, "{reply}");
}

/// A program that receives a question can forge replies to it.
#[tokio::test]
async fn replies_of_another_form_are_counted_and_not_shown() {
    let server = RedisServer::start().await;
    // A node that does not reply keeps the question open for a second.
    let [one, stopped] = fleet(&server, &[]).await;
    freeze(&stopped).await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut channel = client.get_async_pubsub().await.unwrap();
    channel.subscribe("tidings:control").await.unwrap();
    let mut connection = server.connection().await.unwrap();
    let forging = tokio::spawn(async move {
        let message = channel.on_message().next().await.unwrap().get_payload::<String>().unwrap();
        let question: Value = serde_json::from_str(&message).unwrap();
        let key = format!("tidings/workspace:replies/{}", question["ask"]["id"].as_str().unwrap());
        let mut pipeline = redis::pipe();
        for reply in [
            r#"{"node":"forgedxx","found":["acme"]}"#,
            r#"{"node":"../forged","report":{}}"#,
            r#"{"node":"forgedxx"}"#,
            "forgedxx",
        ] {
            pipeline.cmd("ZADD").arg(&key).arg(4_000_000_000_000_u64).arg(reply).ignore();
        }
        pipeline.query_async::<()>(&mut connection).await.unwrap();
    });
    let list = ask(&one, "GET", "/api/console/nodes", "").await.json();
    stopped.signal(Signal::SIGCONT);
    forging.await.unwrap();
    assert_eq!(list["unreadable"], 4, "{list}");
    assert_eq!(list["silent"], json!([id(&stopped).await]), "{list}");
    assert!(!list.to_string().contains("forged"), "{list}");
}
