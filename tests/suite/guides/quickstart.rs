//! `docs/quickstart.md`, step by step.

use super::Document;
use super::terminal::Terminal;
use crate::support::commands::RunningCommand;
use crate::support::token::SECRET;
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, eventually};

/// Reads the lines of a stream up to one with this text, and returns all of them.
async fn read_to(stream: &mut RunningCommand, text: &str) -> String {
    let mut read = String::new();
    // Heartbeats never end, so the time is for all lines together.
    let whole = async {
        while !read.contains(text) {
            read += &stream.line().await;
            read.push('\n');
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, whole).await.is_ok();
    assert!(in_time, "no {text} in {read}");
    read
}

/// The lines with the last command in place of the shell, so that it ends with its test.
fn replacing_the_shell(lines: &str) -> String {
    let (first, last) = lines.trim_end().rsplit_once('\n').unwrap_or(("", lines));
    format!("{first}\nexec {last}")
}

#[tokio::test]
async fn every_step_of_the_quickstart_works() {
    let document = Document::read("docs/quickstart.md");
    assert_eq!(document.block("1. Start a node", "sh"), "cargo run --release\n");
    let mut broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let terminal = Terminal::beside(&broker);

    let [watch, publish, function] = document.blocks("2. Watch and publish", "sh")[..] else {
        panic!("three")
    };
    let mut stream = terminal.start(watch);
    read_to(&mut stream, "\"connected\"").await;
    terminal.run(publish).await;
    read_to(&mut stream, r#"data: {"type":"GREETING","text":"hello"}"#).await;
    terminal.run(function).await;
    read_to(&mut stream, r#"data: {"type":"GREETING","text":"redis"}"#).await;
    drop(stream);

    let steps = document.blocks("3. Reconnect and miss nothing", "sh");
    let [missed, resume, commands] = steps[..] else { panic!("three") };
    let id = terminal.run(&format!("{missed}printf 'id %s' \"$ID\"")).await;
    let (_, id) = id.rsplit_once("id ").unwrap();
    let terminal = terminal.variable("ID", id);
    let mut stream = terminal.start(resume);
    let read = read_to(&mut stream, "while away").await;
    assert!(read.contains(r#""resumed":true"#) && !read.contains("before"), "{read}");
    let told = terminal.run(commands).await;
    assert_eq!(told.matches("while away").count(), 2, "{told}");
    drop(stream);

    let [start, connect] = document.blocks("5. Require a token", "sh")[..] else { panic!("two") };
    broker.kill();
    let terminal = terminal.variable("SECRET", SECRET);
    let start = start.replace("$(openssl rand -base64 48)", "$SECRET");
    let node = terminal.start(&replacing_the_shell(&start));
    broker.ready().await;
    let (settings, _) = start.trim_end().rsplit_once('\n').unwrap();
    let mut stream = terminal.start(&replacing_the_shell(&format!("{settings}\n{connect}")));
    let read = read_to(&mut stream, "\"connected\"").await;
    assert!(read.contains(r#""check":"credentials""#), "{read}");
    drop((stream, node));

    let server = RedisServer::start().await;
    let other = Broker::start(BrokerOptions::embedded()).await;
    let terminal = Terminal::beside(&other).with_redis(&server);
    let lines = document.block("6. With a Redis", "sh");
    let (check, serve) = lines.split_once('\n').unwrap();
    let told = terminal.run(check).await;
    assert!(told.contains("ok    publishing durably"), "{told}");
    let mut other = other;
    other.kill();
    let _node = terminal.start(&format!("exec {serve}"));
    eventually("the node over Redis is ready", DEADLINE, async || other.is_ready().await).await;
    assert_eq!(other.status().await["bus"]["kind"], "redis");

    document.every_block_ran(&[]);
}
