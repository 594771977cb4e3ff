//! Client libraries for event streams, as pages use them.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::http;
use crate::support::programs::{Program, installed};
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, eventually};

const EVENTS: &str = "/api/workspaces/acme/events";
const TRACE: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

/// A program that reads a stream with a library, to the event with a certain number.
struct Reader {
    program: Program,
}

impl Reader {
    fn start(script: &str, url: &str, last: u64) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node").join(script);
        let libraries = installed("node/node_modules").with_file_name("");
        let mut command = Command::new("node");
        command.arg(path).args([url, &last.to_string()]).arg(libraries);
        Self { program: Program::start(script, command) }
    }

    /// What it wrote down, a value a line. What the library itself has to say is left out.
    fn written(&self) -> Vec<Value> {
        let log = self.program.log();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect()
    }

    fn opened(&self) -> usize {
        self.written().iter().filter(|line| line["opened"] == 200).count()
    }

    fn numbers(&self) -> Vec<u64> {
        self.written().iter().filter_map(|line| line["payload"]["number"].as_u64()).collect()
    }

    fn events(&self, kind: &str) -> usize {
        self.written().iter().filter(|line| line["event"] == kind).count()
    }
}

/// How a page opens its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// At the head.
    AtHead,
    /// Behind the position of its state, which stays in the address.
    BehindState,
}

/// A reader loses its node when half of the events are out, and reconnects to a run of it that has
/// nothing in memory. The rest was published meanwhile and afterwards.
async fn loses_nothing_when_its_node_is_killed(script: &str, begin: Begin) {
    let redis = RedisServer::start().await;
    let options = BrokerOptions::redis(&redis).set("sse.retry_ms", 100).set("tracing.in_streams", true);
    let mut node = Broker::start_ready(options.clone()).await;
    let other = Broker::start_ready(options).await;
    let publish = async |numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            // A library ignores the comment with the trace.
            let payload = json!({ "type": "A", "number": number }).to_string();
            http::request(other.address(), "POST", EVENTS, &[TRACE], payload).await;
        }
    };
    let mut watching = node.connect("acme").await;
    watching.connected().await;
    let state = other.publish("acme", r#"{"type":"A","number":0}"#).await;
    let query = if begin == Begin::BehindState { format!("?last_event_id={state}") } else { String::new() };
    let url = format!("http://{}/api/workspaces/acme/events{query}", node.address());
    let mut reader = Reader::start(script, &url, 200);
    eventually("the connected event", DEADLINE, async || reader.events("message") == 1).await;
    publish(1..=100).await;
    let last = watching.wait_for(DEADLINE, |event| event.data.contains(":100,")).await;
    assert_eq!(last.comments, [format!("traceparent={}", TRACE.1)]);
    eventually("the first half", DEADLINE, async || reader.numbers().len() == 100).await;
    assert_eq!(reader.opened(), 1);

    node.kill();
    publish(101..=150).await;
    node.restart().await;
    publish(151..=200).await;
    let status = reader.program.ended(DEADLINE).await;
    assert!(status.success(), "{status}");
    assert_eq!(reader.numbers(), (1..=200).collect::<Vec<_>>());
    assert_eq!((reader.opened(), reader.events("tidings.reset")), (2, 0));
}

#[tokio::test]
async fn event_source_polyfill_loses_nothing_when_its_node_is_killed() {
    loses_nothing_when_its_node_is_killed("event-source-polyfill.mjs", Begin::AtHead).await;
}

#[tokio::test]
async fn event_source_polyfill_goes_on_from_its_own_position() {
    loses_nothing_when_its_node_is_killed("event-source-polyfill.mjs", Begin::BehindState).await;
}

#[tokio::test]
async fn fetch_event_source_loses_nothing_when_its_node_is_killed() {
    loses_nothing_when_its_node_is_killed("fetch-event-source.mjs", Begin::BehindState).await;
}

/// How Node's own fetch sees the end of its stream.
async fn end_for_fetch(writer: &str, end: impl AsyncFn(&mut Broker)) -> Value {
    let options = BrokerOptions::embedded().set("delivery.writer", writer);
    let options = options.set("server.drain_delay_seconds", 0).set("server.drain_seconds", 0);
    let mut broker = Broker::start_ready(options).await;
    let url = format!("http://{}/api/workspaces/acme/events", broker.address());
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node/fetch.mjs");
    let mut command = Command::new("node");
    command.arg(script).arg(url);
    let mut reader = Reader { program: Program::start("fetch.mjs", command) };
    let has_connected_event =
        |line: &Value| line["part"].as_str().is_some_and(|part| part.contains(r#""type":"connected""#));
    eventually("the connected event", DEADLINE, async || reader.written().iter().any(has_connected_event))
        .await;
    end(&mut broker).await;
    assert!(reader.program.ended(DEADLINE).await.success());
    reader.written().pop().unwrap()
}

#[tokio::test]
async fn fetch_in_node_distinguishes_a_kill_from_a_clean_end() {
    for writer in ["handoff", "body"] {
        let killed = end_for_fetch(writer, async |broker| broker.kill()).await;
        assert_eq!(killed["ended"], "error", "{writer}: {killed}");
        let drained = end_for_fetch(writer, async |broker| {
            assert_eq!(broker.terminate(DEADLINE).await, Some(0));
        })
        .await;
        assert_eq!(drained, json!({ "ended": "clean" }), "{writer}");
    }
}
