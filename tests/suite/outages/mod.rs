//! Redis goes away in every possible way, under live subscribers. No client remains connected
//! without events, and none misses an event without a reset.

mod absent;
mod addresses;
mod command_link;
mod credentials;
mod endless;
mod failover;
mod kinds;
mod links;
mod refusals;
mod restarts;
mod rights;
mod servers;
mod two_servers;
mod unable;

use std::time::Duration;

use crate::support::{Broker, Connect, End, Event, RedisServer, SseClient};

/// Recovery may take the longest pause between two attempts, and some.
const RECOVERY: Duration = Duration::from_secs(20);

/// Clients of several workspaces of one broker.
struct Audience(Vec<(String, SseClient)>);

impl Audience {
    /// Two clients in each of some workspaces, all greeted.
    async fn gather(broker: &Broker, workspaces: usize) -> Self {
        let mut clients = Vec::new();
        for number in 0..workspaces * 2 {
            let workspace = format!("workspace-{}", number / 2);
            let mut client = broker.connect(&workspace).await;
            client.connected().await;
            clients.push((workspace, client));
        }
        Self(clients)
    }

    /// Waits until every client was sent a reset, then publishes in every workspace and checks that
    /// every client gets it.
    async fn check_reset_and_receiving(&mut self, server: &RedisServer, text: &str) {
        for (workspace, client) in &mut self.0 {
            let reset = client.wait_for(RECOVERY, |event| event.kind == "tidings.reset").await;
            assert_eq!(reset.json()["reason"], "interrupted", "{workspace}");
        }
        self.check_hearing(server, text).await;
    }

    /// Publishes in every workspace and checks that every client gets it.
    async fn check_hearing(&mut self, server: &RedisServer, text: &str) {
        let workspaces: std::collections::BTreeSet<_> =
            self.0.iter().map(|(workspace, _)| workspace.clone()).collect();
        for workspace in workspaces {
            assert_eq!(server.publish(&format!("workspace:{workspace}"), text).await, 1, "{workspace}");
        }
        for (_, client) in &mut self.0 {
            assert_eq!(client.application_event().await.data, text);
            assert_eq!(client.end(), None);
        }
    }
}

/// A client was refused in a way that an EventSource survives: 200, a time for the retry, a reason,
/// and a clean end.
async fn check_asked_to_come_back(client: &mut SseClient, reason: &str) {
    let reconnect = client.event_named("tidings.reconnect").await;
    let data = reconnect.json();
    assert_eq!(data["reason"], reason);
    let retry = data["retryMs"].as_u64().unwrap();
    assert_eq!(client.wait_end(RECOVERY).await, End::Clean);
    assert_eq!(client.status(), 200);
    assert_eq!(client.retries().last(), Some(&retry));
}

/// Checks that events with numbers for data came in order, and that a reset marks each gap.
fn check_no_silent_loss(events: &[Event], last: u64) {
    let mut expected = 0;
    let mut told = false;
    for event in events {
        if event.kind == "tidings.reset" {
            told = true;
        } else if event.is_from_application() {
            let number: u64 = event.data.parse().unwrap();
            assert!(number >= expected, "{number} came again, or late; {expected} was expected");
            assert!(
                told || number == expected,
                "{expected} is missing before {number}, and nothing was told"
            );
            expected = number + 1;
            told = false;
        }
    }
    assert!(expected == last + 1, "the last number is {expected}, and not {last}");
}

/// Tools that are no EventSource.
fn tool() -> Connect {
    Connect::default().header("Accept", "*/*")
}
