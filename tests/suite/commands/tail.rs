//! `tidings tail`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::url;
use crate::support::commands::{RunningCommand, run_tidings};
use crate::support::test_cluster::on_both_buses;
use crate::support::{Bus, DEADLINE, TestCluster};

on_both_buses!(
    payloads_are_printed_as_they_come,
    with_json_everything_is_one_object_a_line,
    types_select_the_printed_events,
    a_reader_that_has_enough_ends_it_quietly,
    it_comes_back_when_the_broker_does,
);

/// Starts `tidings tail acme` with further arguments, and waits until it is connected.
fn start(cluster: &TestCluster, arguments: &[&str]) -> RunningCommand {
    let url = url(&cluster.broker);
    RunningCommand::tidings(&[&["tail", "acme", "--url", &url], arguments].concat(), &[])
}

/// Starts `tidings tail acme` with further arguments, and waits until it is connected.
async fn tail(cluster: &TestCluster, arguments: &[&str]) -> RunningCommand {
    let command = start(cluster, arguments);
    command.said(CONNECTED, 1).await;
    command
}

/// The text on stderr when a stream has begun.
const CONNECTED: &str = "connected {";

async fn payloads_are_printed_as_they_come(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("sse.heartbeat_seconds", "0.1")]).await;
    let mut command = tail(&cluster, &["--count", "3"]).await;
    cluster.publish_live("acme", r#"{"type":"A"}"#).await;
    assert_eq!(command.line().await, r#"{"type":"A"}"#);
    cluster.broker.publish("acme", "two\nlines").await;
    assert_eq!(command.line().await, "two");
    assert_eq!(command.line().await, "lines");
    cluster.publish_live("acme", b"\xff").await;
    // An event of a publisher that looks as one of the broker's own.
    let third = r#"{"type":"connected","workspaceId":"acme"}"#;
    cluster.publish_live("acme", third).await;
    let finished = command.finished().await;
    assert_eq!((finished.code, finished.stdout), (Some(0), format!("{third}\n")));
    // What the broker itself says does not mix with the payloads.
    let lines: Vec<_> = finished.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("connected {"), "{lines:?}");
    assert!(lines[1].starts_with("tidings.reset {"), "{lines:?}");
}

async fn with_json_everything_is_one_object_a_line(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut command = start(&cluster, &["--json"]);
    let mut next = async || serde_json::from_str::<Value>(&command.line().await).unwrap();
    let connected = next().await;
    assert_eq!(connected["event"], Value::Null);
    assert!(connected["data"].as_str().unwrap().contains("connected"));
    let id = cluster.broker.publish("acme", "two\nlines and \"quotes\"").await;
    assert_eq!(next().await, json!({ "id": id, "event": null, "data": "two\nlines and \"quotes\"" }));
    cluster.publish_live("acme", b"\xff").await;
    assert_eq!(next().await["event"], "tidings.reset");
}

async fn types_select_the_printed_events(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let command = tail(&cluster, &["--types", "A,with space", "--count", "2"]).await;
    for payload in [r#"{"type":"B"}"#, r#"{"type":"A"}"#, "text", r#"{"type":"with space"}"#] {
        cluster.publish_live("acme", payload).await;
    }
    assert_eq!(command.finished().await.success(), "{\"type\":\"A\"}\n{\"type\":\"with space\"}\n");
}

async fn a_reader_that_has_enough_ends_it_quietly(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut command = tail(&cluster, &[]).await;
    cluster.publish_live("acme", "one").await;
    assert_eq!(command.line().await, "one");
    command.close_stdout();
    // Another test may be starting a program, which has this end of the pipe too until it runs.
    let publishing = async {
        loop {
            cluster.publish_live("acme", "more").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let finished = tokio::select! {
        finished = command.finished() => finished,
        () = publishing => unreachable!("it goes on for ever"),
    };
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
}

async fn it_comes_back_when_the_broker_does(bus: Bus) {
    let mut cluster = TestCluster::start_with(bus, &[("sse.retry_ms", "100")]).await;
    let mut command = tail(&cluster, &["--count", "2"]).await;
    cluster.publish_live("acme", "before").await;
    assert_eq!(command.line().await, "before");
    if bus == Bus::Redis {
        // A node that is killed before its first mark leaves no trace of the event.
        cluster.is_marked("acme").await;
    }
    cluster.broker.kill();
    cluster.broker.restart().await;
    command.said(CONNECTED, 2).await;
    cluster.publish_live("acme", "after").await;
    let finished = command.finished().await;
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "after\n"));
    assert!(finished.stderr.contains("reconnecting in"), "{}", finished.stderr);
    assert!(finished.stderr.contains("tidings.reset"), "{}", finished.stderr);
}

#[tokio::test]
async fn it_misses_no_logged_event_over_a_restart() {
    let mut cluster = TestCluster::start_with(Bus::Redis, &[("sse.retry_ms", "100")]).await;
    let mut command = tail(&cluster, &["--count", "3"]).await;
    cluster.broker.publish("acme", "before").await;
    assert_eq!(command.line().await, "before");
    cluster.broker.kill();
    let settings = [("redis.url", cluster.redis().url())];
    let settings = settings.each_ref().map(|(key, value)| (*key, &**value));
    run_tidings(&["publish", "acme", "meanwhile"], &settings).await.success();
    cluster.broker.restart().await;
    assert_eq!(command.line().await, "meanwhile");
    cluster.broker.publish("acme", "after").await;
    let finished = command.finished().await;
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "after\n"));
    assert!(!finished.stderr.contains("tidings.reset"), "{}", finished.stderr);
}

#[tokio::test]
async fn a_drain_makes_it_move_on() {
    let settings =
        [("sse.retry_ms", "100"), ("server.drain_delay_seconds", "0"), ("server.drain_seconds", "0")];
    let mut cluster = TestCluster::start_with(Bus::Redis, &settings).await;
    let command = tail(&cluster, &["--count", "1"]).await;
    cluster.broker.signal(Signal::SIGTERM);
    assert_eq!(cluster.broker.ended(DEADLINE).await.code(), Some(0));
    cluster.broker.restart().await;
    command.said(CONNECTED, 2).await;
    cluster.broker.publish("acme", "after").await;
    let finished = command.finished().await;
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "after\n"));
    assert!(finished.stderr.contains("tidings.reconnect {\"reason\":\"draining\""), "{}", finished.stderr);
}

#[tokio::test]
async fn a_place_to_begin_can_be_given() {
    let cluster = TestCluster::start(Bus::Redis).await;
    let first = cluster.broker.publish("acme", "first").await;
    cluster.broker.publish("acme", "second").await;
    let url = url(&cluster.broker);
    let tail = async |place: &[&str], count: &str| {
        let arguments = [&["tail", "acme", "--url", &url, "--count", count], place].concat();
        run_tidings(&arguments, &[]).await.success()
    };
    assert_eq!(tail(&["--last-event-id", &first], "1").await, "second\n");
    assert_eq!(tail(&["--last", "1"], "1").await, "second\n");
    // Only an older event proves that the log holds all since a time.
    let old = format!("{}-0", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() - 7_200_000);
    cluster.redis().command::<String>(&["XADD", "workspace:other", &old, "data", "old"]).await;
    cluster.redis().command::<String>(&["XADD", "workspace:other", "*", "data", "first"]).await;
    let tail = async |place: &[&str], count: &str| {
        let arguments = [&["tail", "other", "--url", &url, "--count", count], place].concat();
        run_tidings(&arguments, &[]).await.success()
    };
    assert_eq!(tail(&["--since", "1h"], "1").await, "first\n");
    assert_eq!(tail(&["--since", "1h", "--ids"], "1").await.split_once('\t').unwrap().1, "first\n");
}

/// A payload that would set the terminal's title, among others. `script` runs the command on a
/// terminal.
#[tokio::test]
async fn control_characters_do_not_reach_a_terminal() {
    let cluster = TestCluster::start(Bus::Embedded).await;
    cluster.broker.publish("acme", "\u{1b}]0;title\u{7}\u{9b}2J").await;
    let url = url(&cluster.broker);
    let arguments = ["tail", "acme", "--last", "1", "--count", "1", "--url", &url];
    assert_eq!(run_tidings(&arguments, &[]).await.success(), "\u{1b}]0;title\u{7}\u{9b}2J\n");

    let mut script = tokio::process::Command::new("script");
    let program = env!("CARGO_BIN_EXE_tidings");
    script.args([
        "--quiet",
        "--return",
        "--command",
        &format!("{program} {}", arguments.join(" ")),
        "/dev/null",
    ]);
    let output = tokio::time::timeout(DEADLINE, script.kill_on_drop(true).output()).await.unwrap().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("\\u001b]0;title\\u0007\\u009b2J"), "{shown:?}");
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{shown:?}");
}

#[tokio::test]
async fn stream_that_cannot_open_is_reported() {
    let cluster = TestCluster::start(Bus::Redis).await;
    let url = url(&cluster.broker);
    for (arguments, code, word) in [
        (&["tail", "a b"][..], 2, "A-Z a-z 0-9 . _ ~ -"),
        (&["tail", "acme", "--url", "nonsense"], 2, "`nonsense` is not a URL"),
        (&["tail", "acme", "--url", &url, "--types", "A,,B"], 1, "400 Bad Request: `types`"),
        (&["tail", "acme", "--url", &url, "--last-event-id", "a\nb"], 2, "does not fit into a header"),
        (&["tail", "acme", "--url", &url.replace("/api", "/nowhere")], 1, "404"),
        (&["tail", "acme", "--count", "x"], 2, "--count"),
        (&["tail"], 2, "<WORKSPACE>"),
    ] {
        let stderr = run_tidings(arguments, &[]).await.failure(code);
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
    }
}
