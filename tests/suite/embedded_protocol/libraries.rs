//! Client libraries and redis-cli, as people use them.

use std::path::PathBuf;
use std::process::Stdio;

use futures_util::StreamExt;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::wire::{Wire, words};
use super::{DEADLINE, Embedded};
use crate::support::programs::installed;

/// Runs a program to its end, which must be a good one.
async fn run(command: &mut Command) -> String {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(DEADLINE, running).await.expect("the program does not end").unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

#[tokio::test]
async fn python_redis() {
    let embedded = Embedded::start().await;
    let python = installed("python/bin/python");
    run(Command::new(python).arg(script("client.py")).arg(embedded.address.port().to_string())).await;
}

#[tokio::test]
async fn node_redis() {
    run_node("redis.mjs").await;
}

#[tokio::test]
async fn node_ioredis() {
    run_node("ioredis.mjs").await;
}

async fn run_node(name: &str) {
    let embedded = Embedded::start().await;
    let libraries = installed("node/node_modules").with_file_name("");
    let script = script("node").join(name);
    run(Command::new("node").arg(script).arg(embedded.address.port().to_string()).arg(libraries)).await;
}

#[tokio::test]
async fn rust_redis_in_resp2() {
    let embedded = Embedded::start().await;
    let client = redis::Client::open(format!("redis://{}", embedded.address)).unwrap();
    let mut publisher = client.get_multiplexed_async_connection().await.unwrap();
    let mut subscriber = client.get_async_pubsub().await.unwrap();
    subscriber.subscribe("a").await.unwrap();
    subscriber.psubscribe("*a").await.unwrap();
    assert_eq!(ping(&mut publisher).await, "PONG");
    let receivers: usize = publisher.publish("a", "hello").await.unwrap();
    assert_eq!(receivers, 2);
    let messages: Vec<redis::Msg> =
        timeout(DEADLINE, subscriber.on_message().take(2).collect()).await.unwrap();
    assert!(messages.iter().all(|message| message.get_payload_bytes() == b"hello"));
    assert_eq!(messages[1].get_pattern::<String>().unwrap(), "*a");
}

#[tokio::test]
async fn rust_redis_in_resp3() {
    let embedded = Embedded::start().await;
    let client = redis::Client::open(format!("redis://{}/?protocol=resp3", embedded.address)).unwrap();
    let (pushes, mut pushed) = tokio::sync::mpsc::unbounded_channel();
    let config = redis::AsyncConnectionConfig::new().set_push_sender(pushes);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    connection.subscribe("a").await.unwrap();
    // In RESP3 a subscriber goes on with commands.
    assert_eq!(ping(&mut connection).await, "PONG");
    let receivers: usize = connection.publish("a", "hello").await.unwrap();
    assert_eq!(receivers, 1);
    let mut kinds = Vec::new();
    while kinds.last() != Some(&redis::PushKind::Message) {
        kinds.push(timeout(DEADLINE, pushed.recv()).await.unwrap().unwrap().kind);
    }
    assert_eq!(kinds, [redis::PushKind::Subscribe, redis::PushKind::Message]);
}

async fn ping(connection: &mut MultiplexedConnection) -> String {
    redis::cmd("PING").query_async(connection).await.unwrap()
}

fn redis_cli(embedded: &Embedded, arguments: &[&str]) -> Command {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &embedded.address.port().to_string()]).args(arguments).kill_on_drop(true);
    command
}

#[tokio::test]
async fn redis_cli_publishes_and_asks() {
    let embedded = Embedded::start().await;
    assert_eq!(run(&mut redis_cli(&embedded, &["PING"])).await, "PONG\n");
    assert_eq!(run(&mut redis_cli(&embedded, &["PUBLISH", "workspace:demo", "{}"])).await, "0\n");
    assert_eq!(run(&mut redis_cli(&embedded, &["-3", "PUBSUB", "CHANNELS"])).await, "\n");
    let id = run(&mut redis_cli(&embedded, &["FCALL", "tidings_publish", "1", "workspace:demo", "{}"])).await;
    assert!(id.trim_end().ends_with("-0"), "{id}");
    let refused = run(&mut redis_cli(&embedded, &["GET", "key"])).await;
    assert!(
        refused.starts_with("ERR unknown command 'GET'") && refused.contains("the embedded bus of Tidings"),
        "{refused}"
    );
}

/// The lines that the documents give for copying.
#[tokio::test]
async fn redis_cli_publishes_durably() {
    let embedded = Embedded::start().await;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/publish.lua");
    let script = script.to_str().unwrap();
    let eval = ["--eval", script, "workspace:acme", ",", "{}"];
    let first = run(&mut redis_cli(&embedded, &eval)).await;
    let second =
        run(&mut redis_cli(&embedded, &["FCALL", "tidings_publish", "1", "workspace:acme", "{}"])).await;
    let read = run(&mut redis_cli(&embedded, &["XRANGE", "workspace:acme", "-", "+"])).await;
    let ids: Vec<&str> = read.lines().filter(|line| line.contains('-')).collect();
    assert_eq!(ids, [first.trim_matches(['"', '\n']), second.trim_end()]);
    let other = run(&mut redis_cli(&embedded, &["EVAL", "return 1", "0"])).await;
    assert!(other.starts_with("ERR the embedded bus runs no script but scripts/publish.lua"), "{other}");
}

#[tokio::test]
async fn redis_cli_subscribes() {
    for protocol in ["-2", "-3"] {
        let embedded = Embedded::start().await;
        let mut command = redis_cli(&embedded, &[protocol, "--csv", "SUBSCRIBE", "workspace:demo"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = async || timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
        while !next().await.contains("\"subscribe\",\"workspace:demo\",1") {}
        assert_eq!(run(&mut redis_cli(&embedded, &["PUBLISH", "workspace:demo", "hello"])).await, "1\n");
        assert_eq!(next().await, "\"message\",\"workspace:demo\",\"hello\"");
        // Its subscription ends with it.
        child.kill().await.unwrap();
        let mut wire = Wire::tcp(embedded.address).await;
        wire.ask_until(&words("PUBLISH workspace:demo x"), b":0\r\n").await;
    }
}
