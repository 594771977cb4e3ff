//! `docs/guides/silent-client.md`: each command shows what the page says that it shows.

use serde_json::json;

use super::Document;
use super::terminal::Terminal;
use crate::support::token::{JWT, token};
use crate::support::{Broker, BrokerOptions};

#[tokio::test]
async fn every_command_of_the_page_shows_its_finding() {
    let document = Document::read("docs/guides/silent-client.md");
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let terminal = Terminal::beside(&broker);
    let [explain, nodes, ready] = document.blocks("1. Ask the nodes about the client", "sh")[..] else {
        panic!("three blocks")
    };
    assert_eq!(terminal.run(ready).await.trim(), r#"{"ready":true}"#);
    let told = terminal.run(explain).await;
    assert!(told.trim().lines().last().unwrap().contains("its requests do not reach a node"), "{told}");
    let told = terminal.run(nodes).await;
    assert!(told.contains("  ready"), "{told}");
    let told = terminal.run(document.block("2. Follow one event", "sh")).await;
    assert!(told.contains("does not hold the workspace"), "{told}");

    let steps = document.blocks("3. Does the event reach the bus?", "sh");
    let [tail, publish, channels, history, metrics] = steps[..] else { panic!("five blocks") };
    assert_eq!(terminal.run(channels).await.trim(), "", "no client, no channel");
    let mut tail = terminal.start(&format!("exec {tail}"));
    tail.said("connected {", 1).await;
    terminal.run(publish).await;
    assert_eq!(tail.line().await, r#"{"type":"TEST"}"#);
    assert_eq!(terminal.run(channels).await.trim(), "workspace:demo");
    let told = terminal.run(history).await;
    assert!(told.contains(r#"{"type":"TEST"}"#), "{told}");
    let told = terminal.run(metrics).await;
    assert!(told.contains(r#"tidings_events_total{kind="logged"} 1"#), "{told}");

    let options = JWT.iter().fold(BrokerOptions::embedded(), |options, (key, value)| options.set(key, value));
    let broker = Broker::start_ready(options).await;
    let [ask, explain] = document.blocks("4. Is the client allowed?", "sh")[..] else { panic!("two blocks") };
    for (token, status, finding) in [
        (token("u1", &["demo"], 60, &json!({})), "HTTP/1.1 200", r#""type":"connected""#),
        (token("u1", &["acme"], 60, &json!({})), "HTTP/1.1 403", r#""check":"subscribe""#),
    ] {
        let terminal =
            JWT.iter().fold(Terminal::beside(&broker), |terminal, (key, value)| terminal.set(key, value));
        let terminal = terminal.variable("TOKEN", &token);
        let told = terminal.run(ask).await;
        assert!(told.contains(status) && told.contains(finding), "{told}");
        let explained = terminal.finish(explain).await;
        assert_eq!(explained.code == Some(0), status.ends_with("200"), "{explained:?}");
    }
    document.every_block_ran(&[]);
}
