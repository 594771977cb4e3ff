//! Readers that each have another part of a long log read, and take next to nothing of it.

use futures_util::future::join_all;

use super::{MIB, peak};
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, SseClient, eventually, http};

const RING_BYTES: u64 = 16 * MIB;
const REPLAY_BYTES: u64 = 8 * MIB;

const READERS: usize = 60;
const EVENTS: usize = 1000;

/// Buffers of a connection that takes nothing, in the broker, and its task.
const CONNECTION_BYTES: u64 = 64 * 1024;

/// A broker with a log of 15 MB, and the ids of its events.
async fn broker() -> (Broker, Vec<String>) {
    let options = BrokerOptions::embedded()
        // The log keeps every event of the test.
        .set("retention.events", 2 * EVENTS)
        .set("limits.ring_bytes", RING_BYTES)
        .set("limits.replay_bytes", REPLAY_BYTES)
        .set("server.trusted_proxies", "127.0.0.1")
        .set("auth.mode", "none")
        .set("server.send_buffer_bytes", 16 * 1024);
    let broker = Broker::start_ready(options).await;
    let mut ids = Vec::new();
    for first in (0..EVENTS).step_by(250) {
        let lines: Vec<_> = (first..first + 250).map(|number| format!("{number:015000}")).collect();
        let target = "/api/workspaces/acme/events?batch=1";
        let response = http::request(broker.address(), "POST", target, &[], lines.join("\n")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let given = response.json()["ids"].as_array().expect("ids").clone();
        ids.extend(given.iter().map(|id| id.as_str().expect("an id").to_owned()));
    }
    (broker, ids)
}

/// Asks for everything behind an event, each reader behind another one, and does not read.
async fn reader(broker: &Broker, id: &str) -> SseClient {
    let client =
        broker.connect_with("acme", Connect { receive_buffer: Some(4096), ..Connect::after(id) }).await;
    client.stop_reading();
    client
}

/// Reads nearly the whole log, as another client.
async fn read_all(broker: &Broker, ids: &[String]) {
    let options = Connect::after(&ids[0]).header("X-Forwarded-For", "198.51.100.1");
    let mut client = broker.connect_with("acme", options).await;
    let last = format!("{:015000}", EVENTS - 1);
    client.wait_for(DEADLINE, |event| event.data == last).await;
    let read = client.application_data();
    assert_eq!(read.iter().filter(|data| data.len() == last.len()).count(), EVENTS - 1);
}

#[tokio::test]
async fn stalled_readers_are_bounded_and_reject_no_client() {
    let (broker, ids) = broker().await;
    read_all(&broker, &ids).await;
    let before = peak(&broker);
    let held = join_all(ids[..READERS].iter().map(|id| reader(&broker, id))).await;
    eventually("much of the log is in memory", DEADLINE, async || {
        let pages = broker.metric("tidings_replay_bytes").await.unwrap_or_default();
        pages + broker.metric("tidings_ring_bytes").await.unwrap_or_default() > REPLAY_BYTES as f64 / 4.0
    })
    .await;
    // New clients of this and of other workspaces connect, and events go on.
    for number in 0..20 {
        let mut client = broker.connect(&format!("other-{number}")).await;
        client.connected().await;
        let mut client = broker.connect("acme").await;
        client.connected().await;
        broker.publish("acme", &number.to_string()).await;
        assert_eq!(client.next_event(DEADLINE).await.data, number.to_string());
    }
    let rings = broker.metric("tidings_ring_bytes").await.unwrap();
    assert!(rings < RING_BYTES as f64 / 4.0, "{rings}");
    let pages = broker.metric("tidings_replay_bytes").await.unwrap();
    assert!(pages <= REPLAY_BYTES as f64, "{pages}");
    let added = peak(&broker).saturating_sub(before);
    let configured = REPLAY_BYTES + READERS as u64 * CONNECTION_BYTES;
    assert!(added < configured + configured / 4, "{} MiB", added / MIB);
    read_all(&broker, &ids).await;
    // No client reads from the pages, so others get their memory.
    eventually("the pages are given up", DEADLINE, async || {
        broker.metric("tidings_replay_bytes").await == Some(0.0)
    })
    .await;
    drop(held);
}
