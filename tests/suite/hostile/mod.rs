//! Hostile clients against the real broker. Each gets a clear error or is closed, and memory
//! remains within a stated bound. Meanwhile an observer gets every event, in order.

mod bodies;
mod crowds;
mod ids;
mod redis_port;
mod replays;
mod slow;
mod smuggling;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Broker, DEADLINE, SseClient, eventually, http};

const MIB: u64 = 1 << 20;

/// How often an event is published to the observer.
const PACE: Duration = Duration::from_millis(50);

/// A client that minds its own business beside hostile ones, and the broker's memory before they
/// came.
struct Observer {
    client: SseClient,
    publishing: JoinHandle<u64>,
    stop: CancellationToken,
    memory_before: u64,
}

impl Observer {
    async fn start(broker: &Broker) -> Self {
        let mut client = broker.connect("observer").await;
        client.connected().await;
        let stop = CancellationToken::new();
        let publishing = tokio::spawn(publish(broker.address(), stop.clone()));
        Self { client, publishing, stop, memory_before: broker.memory_bytes() }
    }

    /// Checks that all that was published has come, in order, and that the broker is sound and has
    /// grown by at most so many bytes.
    async fn finish(self, broker: &Broker, growth_max: u64) {
        let memory = broker.memory_bytes();
        self.stop.cancel();
        let published = self.publishing.await.expect("the publisher");
        assert!(published > 0, "nothing was published");
        let client = &self.client;
        eventually("the observer has everything", DEADLINE, async || {
            client.application_data().len() as u64 >= published
        })
        .await;
        let expected: Vec<String> = (1..=published).map(|number| number.to_string()).collect();
        assert_eq!(client.application_data(), expected);
        assert!(client.end().is_none() && client.events().iter().all(|event| event.kind != "tidings.reset"));
        let growth = memory.saturating_sub(self.memory_before);
        assert!(growth <= growth_max, "{} MiB more than before", growth / MIB);
        assert!(!broker.log().contains("panicked"), "{}", broker.log());
    }
}

async fn publish(address: SocketAddr, stop: CancellationToken) -> u64 {
    let mut published = 0;
    while !stop.is_cancelled() {
        published += 1;
        let target = "/api/workspaces/observer/events";
        let answer = http::request(address, "POST", target, &[], published.to_string()).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        tokio::time::sleep(PACE).await;
    }
    published
}

/// The most memory that the broker ever had, in bytes.
fn peak(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("/proc/PID/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a VmHWM line");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}

/// A number that a run by hand may set.
fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}
