//! Private events. Here no client has a user: no authentication names one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::EVENTS;
use crate::support::commands::run_tidings;
use crate::support::http::{self, Response};
use crate::support::test_cluster::{on_both_buses, publish_live};
use crate::support::{Bus, Connect, DEADLINE, TestCluster};

on_both_buses!(
    private_event_reaches_only_its_audience_by_every_way,
    envelope_without_an_audience_reaches_every_client,
    wrong_envelope_is_rejected,
    an_audience_that_is_none_publishes_nothing,
    log_entry_with_a_bad_audience_causes_a_reset,
);

const SCRIPT: &str = include_str!("../../../scripts/publish.lua");

async fn post(
    cluster: &TestCluster,
    query: &str,
    content_type: &str,
    body: impl Into<bytes::Bytes>,
) -> Response {
    let target = format!("{EVENTS}{query}");
    http::request(cluster.broker.address(), "POST", &target, &[("content-type", content_type)], body).await
}

/// Runs the script with an audience, and returns the id of the last event.
async fn evaluate(cluster: &TestCluster, to: &str, payloads: &[&str]) -> Result<String, redis::RedisError> {
    let mut call = redis::cmd("EVAL");
    call.arg(SCRIPT).arg(1).arg("workspace:acme").arg(payloads[0]).arg("").arg("").arg("").arg("").arg(to);
    call.arg(&payloads[1..]);
    let ids: redis::Value = call.query_async(&mut cluster.connection().await).await?;
    let ids: Vec<String> = redis::from_redis_value(ids.clone())
        .unwrap_or_else(|_| vec![redis::from_redis_value::<String>(ids).unwrap()]);
    Ok(ids.last().unwrap().clone())
}

/// The log as `tidings history` has it: payloads and their audiences.
async fn history(cluster: &TestCluster, bus: Bus) -> BTreeMap<String, Value> {
    let settings = match bus {
        Bus::Redis => ("redis.url", cluster.redis().url()),
        Bus::Embedded => ("embedded.listen", cluster.broker.embedded().to_string()),
    };
    let lines = run_tidings(&["history", "acme", "--json"], &[(settings.0, &settings.1)]).await.success();
    let entries = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries
        .map(|entry| (entry["data"].as_str().unwrap_or_default().to_owned(), entry["to"].clone()))
        .collect()
}

async fn private_event_reaches_only_its_audience_by_every_way(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("sse.heartbeat_seconds", "0.2")]).await;
    let mut client = cluster.broker.connect("acme").await;
    let connected = client.connected().await;
    let envelope = |payload: &str, users: &[&str]| json!({ "data": payload, "to": users }).to_string();
    let vendor = "application/vnd.tidings.event+json; charset=utf-8";
    assert_eq!(post(&cluster, "?envelope=1", "text/plain", envelope("1", &["u1"])).await.status, 200);
    assert_eq!(post(&cluster, "", vendor, envelope("2", &["u1", "u2"])).await.status, 200);
    let batch =
        [envelope("3", &["u1"]), r#"{"data":"public"}"#.to_owned(), envelope("4", &["u2"])].join("\n");
    assert_eq!(post(&cluster, "?envelope=1&batch=1", "text/plain", batch).await.status, 200);
    evaluate(&cluster, r#"["u1"]"#, &["5"]).await.unwrap();
    evaluate(&cluster, r#"[["u1"],null,["u2"]]"#, &["6", "public too", "7"]).await.unwrap();
    let url = super::url(&cluster);
    run_tidings(&["publish", "--url", &url, "acme", "8", "--to", "u1", "--to", "u\"2"], &[]).await.success();
    let mut plain = redis::pipe();
    plain.atomic().cmd("XADD").arg("workspace:acme").arg("*").arg("data").arg("9").arg("to").arg(r#"["u1"]"#);
    plain.cmd("PUBLISH").arg("workspace:acme").arg("");
    let (last, _): (String, u64) = plain.query_async(&mut cluster.connection().await).await.unwrap();

    // A heartbeat behind the last of them: this is all that came.
    client.wait_for(DEADLINE, |event| event.kind == "tidings.heartbeat" && event.id == last).await;
    assert_eq!(client.application_data(), ["public", "public too"]);
    assert!(client.events().iter().all(|event| event.kind != "tidings.reset"));
    // The same for a client that resumes, from the ring and from the log.
    cluster.broker.publish("acme", "after").await;
    for connect in [Connect::after(&connected.id), Connect::after(&last), Connect::query("last=100")] {
        let mut back = cluster.broker.connect_with("acme", connect).await;
        back.wait_for(DEADLINE, |event| event.data == "after").await;
        let data = back.application_data();
        assert!(
            data.iter().all(|data| ["public", "public too", "after"].contains(&data.as_str())),
            "{data:?}"
        );
    }

    let log = history(&cluster, bus).await;
    for (payload, to) in [
        ("1", json!(["u1"])),
        ("2", json!(["u1", "u2"])),
        ("3", json!(["u1"])),
        ("public", Value::Null),
        ("4", json!(["u2"])),
        ("5", json!(["u1"])),
        ("public too", Value::Null),
        ("7", json!(["u2"])),
        ("8", json!(["u1", "u\"2"])),
        ("9", json!(["u1"])),
    ] {
        assert_eq!(log[payload], to, "{payload}");
    }
}

async fn envelope_without_an_audience_reaches_every_client(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    for (envelope, payload) in [
        (r#"{"data":"text \"as it is\"\n"}"#, "text \"as it is\"\n"),
        (r#" { "data" : { "b":1.0, "a" : [] } } "#, r#"{ "b":1.0, "a" : [] }"#),
    ] {
        assert_eq!(post(&cluster, "?envelope=1", "application/json", envelope).await.status, 200);
        assert_eq!(client.application_event().await.data, payload);
    }
    // Without the flag for an envelope it is a payload.
    let payload = r#"{"data":1,"to":["u1"]}"#;
    assert_eq!(post(&cluster, "?envelope=0", "application/json", payload).await.status, 200);
    assert_eq!(client.application_event().await.data, payload);
}

async fn wrong_envelope_is_rejected(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("limits.event_bytes", "100")]).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    for (query, body, status, kind) in [
        ("?envelope=1", "text".to_owned(), 400, "bad-envelope"),
        ("?envelope=1", r#"{"data":1,"to":null}"#.to_owned(), 400, "bad-envelope"),
        ("?envelope=1", r#"{"data":1,"to":[]}"#.to_owned(), 400, "bad-envelope"),
        ("?envelope=1", r#"{"data":1,"too":["u1"]}"#.to_owned(), 400, "bad-envelope"),
        ("?envelope=1&batch=1", "{\"data\":1}\n{\"data\":2,\"to\":\"u1\"}".to_owned(), 400, "bad-envelope"),
        ("?envelope=1", String::new(), 400, "empty-event"),
        ("?envelope=1", r#"{"data":""}"#.to_owned(), 400, "empty-event"),
        ("?envelope=1", json!({ "data": "x".repeat(101) }).to_string(), 413, "event-too-large"),
        ("?envelope=yes", "{}".to_owned(), 400, "bad-query"),
    ] {
        let response = post(&cluster, query, "application/json", body.clone()).await;
        assert_eq!(response.status, status, "{body}: {}", response.text());
        assert_eq!(response.json()["type"], format!("urn:tidings:problem:{kind}"), "{body}");
    }
    // What is around the payload does not count.
    let users: Vec<_> = (0..100).map(|number| format!("user {number}")).collect();
    let envelope = json!({ "data": "\n".repeat(100), "to": users }).to_string();
    assert_eq!(post(&cluster, "?envelope=1", "application/json", envelope).await.status, 200);
    cluster.broker.publish("acme", "the first event").await;
    assert_eq!(client.application_event().await.data, "the first event");
}

async fn an_audience_that_is_none_publishes_nothing(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    for (to, payloads) in [
        ("[]", &["x"][..]),
        ("null", &["x"]),
        ("u1", &["x"]),
        ("[null,null]", &["x", "y"]),
        ("[[\"u1\"]]", &["x", "y"]),
    ] {
        let error = evaluate(&cluster, to, payloads).await.unwrap_err().to_string();
        assert!(error.contains("the audience is a JSON array"), "{error}");
    }
    assert!(history(&cluster, bus).await.is_empty());
    let url = super::url(&cluster);
    let said = run_tidings(&["publish", "--url", &url, "acme", "x", "--to", ""], &[]).await.failure(2);
    assert!(said.contains("--to"), "{said}");
}

async fn log_entry_with_a_bad_audience_causes_a_reset(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let mut connection = cluster.connection().await;
    let mut add = redis::cmd("XADD");
    add.arg("workspace:acme").arg("*").arg("data").arg("secret").arg("to").arg("u1");
    let id: String = add.query_async(&mut connection).await.unwrap();
    publish_live(&mut connection, "acme", "").await;
    let reset = client.next_event(DEADLINE).await;
    assert_eq!((reset.kind.as_str(), reset.id.as_str()), ("tidings.reset", id.as_str()));
    assert_eq!(reset.json()["reason"], "bad-entry");
    publish_live(&mut connection, "acme", format!("tidings/1 9{id} {id} [u1]\nsecret")).await;
    assert_eq!(client.next_event(DEADLINE).await.json()["reason"], "bad-envelope");
    assert!(client.application_data().is_empty());
}
