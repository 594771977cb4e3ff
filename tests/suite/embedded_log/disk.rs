//! Disks and files that are not as they should be.

use std::process::Command;

use super::{log, options};
use crate::support::commands::run_tidings;
use crate::support::directory::Directory;
use crate::support::programs::run;
use crate::support::{Broker, DEADLINE, eventually, http};

const EVENTS: &str = "/api/workspaces/acme/events";

/// A start that fails, with what it says.
async fn refusal(path: &str) -> String {
    let anywhere = "127.0.0.1:0";
    let settings = [
        ("embedded.path", path),
        ("server.listen", anywhere),
        ("admin.listen", anywhere),
        ("embedded.listen", anywhere),
    ];
    run_tidings(&["serve"], &settings).await.failure(1)
}

#[tokio::test]
async fn unusable_file_stops_the_start_with_a_reason() {
    let directory = Directory::new();
    let path = directory.file("log").display().to_string();
    let broker = Broker::start(options(&directory, "always")).await;
    let said = refusal(&path).await;
    assert!(said.contains(&format!("the log {path} is in use by another process (embedded.path)")), "{said}");
    drop(broker);

    let text = directory.write("text", "this is no database").display().to_string();
    let said = refusal(&text).await;
    assert!(said.contains(&format!("the log {text} is damaged or no log")), "{said}");
    assert!(said.contains("move it away to start with an empty one"), "{said}");

    let missing = directory.file("missing/log").display().to_string();
    let said = refusal(&missing).await;
    assert!(
        said.contains(&format!("the log {missing} cannot be opened: No such file or directory")),
        "{said}"
    );
}

/// Bounds the files that a running program may write: what is beyond fails, as on a full disk.
fn bound_files(broker: &Broker, bytes: &str) {
    let pid = broker.pid().to_string();
    run(Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]));
}

#[tokio::test]
async fn full_disk_is_reported_and_publishing_continues_afterwards() {
    let directory = Directory::new();
    let bounds = [("retention.events", 1_000_000), ("retention.bytes", 64 << 20)];
    let options =
        bounds.iter().fold(options(&directory, "always"), |options, (key, value)| options.set(key, value));
    let broker = Broker::start_ready(options.ignoring("XFSZ")).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    let payload = "x".repeat(100_000);
    let post = async || http::request(broker.address(), "POST", EVENTS, &[], payload.clone()).await;

    assert_eq!(post().await.status, 200);
    bound_files(&broker, &(4 << 20).to_string());
    let mut published = 1;
    let refused = loop {
        let response = post().await;
        if response.status != 200 {
            break response;
        }
        published += 1;
        assert!(published < 1000, "the bound does not work");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(!broker.is_ready().await);
    let status = broker.status().await;
    assert!(status["bus"]["error"].as_str().unwrap().starts_with("the log cannot be written: "), "{status}");

    bound_files(&broker, "unlimited");
    eventually("there is room again", DEADLINE, async || post().await.status == 200).await;
    published += 1;
    broker.ready().await;
    let entries = log(&broker, "acme").await;
    assert_eq!(entries.len(), published, "what was refused is not there, and nothing else is missing");
    // The client has all of it, in order.
    let last = &entries.last().unwrap().0;
    client.wait_for(DEADLINE, |event| event.id == *last && event.is_from_application()).await;
    let received: Vec<String> = client
        .events()
        .into_iter()
        .filter(|event| event.is_from_application())
        .map(|event| event.id)
        .collect();
    assert_eq!(received, entries.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
}
