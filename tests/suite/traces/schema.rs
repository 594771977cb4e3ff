//! OTLP by the official definition: the messages of `opentelemetry-proto`, which share no code with
//! the node.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::*;
use crate::support::directory::Directory;
use crate::support::programs::installed;

/// Parses bodies of requests.
fn parse(bodies: &[Value]) -> Output {
    let directory = Directory::new();
    let lines: Vec<_> = bodies.iter().map(ToString::to_string).collect();
    let file = directory.write("bodies", lines.join("\n"));
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients/otlp.py");
    Command::new(installed("python/bin/python")).arg(script).arg(file).output().unwrap()
}

/// The spans of the bodies, as the official definition has them. Fails at an unknown field.
fn spans(bodies: &[Value]) -> Vec<Value> {
    let output = parse(bodies);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn now() -> u64 {
    u64::try_from(UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap()
}

fn text(value: &str) -> Value {
    json!(["string_value", value])
}

#[tokio::test]
async fn official_definition_reads_each_span() {
    let (collector, mut redis) = (TestCollector::start().await, RedisServer::start().await);
    let options = BrokerOptions::redis(&redis)
        .set("tracing.otlp.endpoint", collector.url())
        .set("redis.command_timeout_seconds", 1);
    let node = Broker::start_ready(options).await;
    let mut client = node.connect("acme").await;
    let connection = client.connected().await.json()["connectionId"].clone();
    let began = now();
    let id = post(&node, "x", &traceparent("01")).await.json()["id"].clone();
    client.application_event().await;
    collector.wait(2).await;
    redis.stop();
    let headers = [("traceparent", traceparent("01"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let refused = http::request(node.address(), "POST", EVENTS, &headers, "y").await;
    assert_eq!(refused.status, 503);
    collector.wait(3).await;

    let bodies = collector.bodies();
    let mut parsed = spans(&bodies);
    assert_eq!(parsed.len(), 3);
    let version = env!("CARGO_PKG_VERSION");
    let instance = connection.as_str().unwrap().split_once('.').unwrap().0;
    for span in &parsed {
        let resource = json!({
            "service.name": text("tidings"),
            "service.version": text(version),
            "service.instance.id": text(instance),
        });
        assert_eq!(span["resource"], resource);
        assert_eq!(span["scope"], json!(["tidings", version]));
        assert_eq!((&span["trace"], &span["flags"]), (&json!(TRACE), &json!(1)));
        let (start, end) = (span["start"].as_u64().unwrap(), span["end"].as_u64().unwrap());
        assert!(began <= start && start <= end && end <= now(), "{span}");
    }
    parsed.sort_by_key(|span| span["start"].as_u64());
    let position = |name: &str| parsed.iter().position(|span| span["name"] == name).unwrap();
    let delivery = parsed.remove(position("deliver event"));
    let [published, failed] = &parsed[..] else { panic!("{parsed:#?}") };
    for (span, status, code) in [(published, 200, "STATUS_CODE_UNSET"), (failed, 503, "STATUS_CODE_ERROR")] {
        assert_eq!(span["name"], "POST /workspaces/{workspace}/events");
        assert_eq!((&span["kind"], &span["status"]), (&json!("SPAN_KIND_SERVER"), &json!(code)));
        assert_eq!(span["parent"], "00f067aa0ba902b7");
        let attributes = json!({
            "http.request.method": text("POST"),
            "http.route": text("/workspaces/{workspace}/events"),
            "http.response.status_code": ["int_value", status],
            "tidings.workspace": text("acme"),
            "tidings.events": ["int_value", 1],
        });
        assert_eq!(span["attributes"], attributes);
    }
    assert_eq!(
        (&delivery["kind"], &delivery["status"]),
        (&json!("SPAN_KIND_CONSUMER"), &json!("STATUS_CODE_UNSET"))
    );
    assert_eq!(delivery["parent"], published["span"]);
    assert_ne!(delivery["span"], published["span"]);
    let attributes = json!({
        "tidings.workspace": text("acme"),
        "tidings.event.id": ["string_value", id],
        "tidings.event.bytes": delivery["attributes"]["tidings.event.bytes"],
        "tidings.event.private": ["bool_value", false],
        "tidings.deliveries": ["int_value", 1],
        "tidings.streams_behind": ["int_value", 0],
        "tidings.slowest_connection": ["string_value", connection],
    });
    assert_eq!(delivery["attributes"], attributes);
    let body = format!("id: {}\ndata: x\n\n", id.as_str().unwrap());
    assert_eq!(attributes["tidings.event.bytes"], json!(["int_value", body.len()]));

    // Another field, or another type, is an error.
    for (known, other) in [("traceId", "traceID"), ("startTimeUnixNano", "start_time_unix_nano")] {
        let misspelt = bodies[0].to_string().replace(known, other);
        let output = parse(&[serde_json::from_str(&misspelt).unwrap()]);
        assert!(!output.status.success(), "{misspelt}");
    }
}
