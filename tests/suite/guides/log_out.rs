//! `docs/guides/log-out.md`: each block closes the streams that it names, and no other.

use serde_json::json;

use super::Document;
use super::terminal::Terminal;
use crate::support::sse::{Connect, EventSource};
use crate::support::token::{JWT, bearer, token};
use crate::support::{Broker, BrokerOptions, DEADLINE, SseClient, eventually};

/// How a block runs.
#[derive(Debug, Clone, Copy)]
enum By {
    Shell,
    Python,
    Node,
}

#[tokio::test]
async fn every_block_closes_the_streams_that_it_names() {
    let document = Document::read("docs/guides/log-out.md");
    let sessions = document.blocks("One session instead of the user", "sh");
    let [session, member] = sessions[..] else { panic!("two blocks") };
    for (by, block) in [
        (By::Shell, document.block("Log a user out everywhere", "sh")),
        (By::Python, document.file("log_out.py")),
        (By::Node, document.file("log-out.mjs")),
        (By::Shell, session),
        (By::Shell, member),
    ] {
        closes(by, block).await;
    }
    document.every_block_ran(&[]);
}

async fn closes(by: By, block: &str) {
    let options = JWT.iter().fold(BrokerOptions::embedded(), |options, (key, value)| options.set(key, value));
    let broker = Broker::start_ready(options.set("sse.retry_ms", 100)).await;
    let terminal = Terminal::beside(&broker);
    let with = |user: &str, session: &str| {
        let token = token(user, &["acme"], 3600, &json!({ "jti": session }));
        Connect::default().header("Authorization", &bearer(&token))
    };
    let mut named = EventSource::open(broker.address(), "acme", with("u1", "session-17"));
    named.connected().await;
    let mut other = broker.connect_with("acme", with("u2", "session-18")).await;
    other.connected().await;

    let told = match by {
        By::Shell => terminal.run(block).await,
        By::Python => terminal.program("python", "log_out.py", block).await,
        By::Node => terminal.program("node", "log-out.mjs", block).await,
    };
    assert_eq!(told.trim(), "1", "one node received it: {block}");
    let last = named.wait_for(DEADLINE, |event| event.kind == "tidings.reconnect").await;
    assert_eq!(last.json()["reason"], "disconnected");
    eventually("the EventSource is closed for good", DEADLINE, async || named.closed().is_some()).await;
    assert!(other.end().is_none(), "the stream of another user stays");
    let new = SseClient::connect(broker.address(), "acme", with("u1", "session-19")).await;
    let expected = if block.contains("jti") { 200 } else { 204 };
    assert_eq!(new.status(), expected, "the same user with a new token: {block}");
}
