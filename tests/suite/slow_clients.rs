//! Clients that read slowly, or not at all: they harm only themselves.

use crate::support::test_cluster::{on_both_buses, publish_live};
use crate::support::{Bus, Connect, DEADLINE, End, SseClient, TestCluster, eventually, eventually_some};

on_both_buses!(
    stalled_client_lags_without_harm_to_others,
    lagging_client_gets_a_reset_when_it_resumes,
    a_pause_that_the_ring_covers_costs_nothing,
    client_that_takes_no_bytes_is_closed,
    client_with_a_shut_window_is_closed,
    memory_is_bounded_without_a_reader,
);

/// Small buffers everywhere, so that a client that does not read is soon behind.
const SMALL: &[(&str, &str)] = &[("ring.events", "100"), ("server.send_buffer_bytes", "16384")];

/// How much a small event has on the wire, about.
const EVENT_BYTES: usize = 5_000;

fn payload(number: usize) -> String {
    format!("{number}:{}", "x".repeat(EVENT_BYTES))
}

fn numbers(data: &[String]) -> Vec<usize> {
    data.iter().map(|data| data.split(':').next().unwrap().parse().unwrap()).collect()
}

/// A client that has been greeted and reads nothing more.
async fn stalled_client(cluster: &TestCluster) -> SseClient {
    let options = Connect { receive_buffer: Some(8192), ..Connect::default() };
    let mut client = cluster.broker.connect_with("acme", options).await;
    client.connected().await;
    client.stop_reading();
    client
}

/// Publishes numbered events, and goes on only when the readers have got some, so that these stay
/// within the ring.
async fn publish_to(cluster: &TestCluster, count: usize, readers: &mut [SseClient]) {
    let mut connection = cluster.connection().await;
    for number in 0..count {
        publish_live(&mut connection, "acme", payload(number)).await;
        if number % 20 == 19 {
            for reader in &mut *readers {
                let begin = format!("{number}:");
                reader.wait_for(DEADLINE, |event| event.data.starts_with(&begin)).await;
            }
        }
    }
}

/// The line that the log has on the end of a stream, by the word on why it ended.
fn end_line(cluster: &TestCluster, why: &str) -> Option<String> {
    let log = cluster.broker.log();
    let why = format!("why=\"{why}");
    log.lines().find(|line| line.contains("stream ended") && line.contains(&why)).map(str::to_owned)
}

async fn stalled_client_lags_without_harm_to_others(bus: Bus) {
    const COUNT: usize = 400;
    let cluster = TestCluster::start_with(bus, SMALL).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut reader = cluster.broker.connect("acme").await;
        reader.connected().await;
        readers.push(reader);
    }
    let mut stalled = stalled_client(&cluster).await;
    publish_to(&cluster, COUNT, &mut readers).await;
    for reader in &readers {
        assert_eq!(numbers(&reader.application_data()), (0..COUNT).collect::<Vec<_>>());
        assert_eq!(reader.end(), None);
    }

    stalled.resume_reading();
    let reconnect = stalled.event_named("tidings.reconnect").await;
    assert_eq!(reconnect.json()["reason"], "lagging");
    assert_eq!(stalled.wait_end(DEADLINE).await, End::Clean);
    assert_eq!(stalled.retries().last(), reconnect.json()["retryMs"].as_u64().as_ref());
    let got = numbers(&stalled.application_data());
    assert_eq!(got, (0..got.len()).collect::<Vec<_>>(), "what it got has no hole");
    assert!(!got.is_empty() && got.len() < COUNT, "{}", got.len());

    assert_eq!(cluster.broker.status().await["counters"]["reconnects"]["lagging"], 1);
    eventually("the log says so", DEADLINE, async || end_line(&cluster, "lagging").is_some()).await;
    cluster.publish_live("acme", "9999:").await;
    for reader in &mut readers {
        reader.wait_for(DEADLINE, |event| event.data == "9999:").await;
    }
}

async fn lagging_client_gets_a_reset_when_it_resumes(bus: Bus) {
    let cluster = TestCluster::start_with(bus, SMALL).await;
    let mut reader = cluster.broker.connect("acme").await;
    reader.connected().await;
    let mut stalled = stalled_client(&cluster).await;
    publish_to(&cluster, 400, std::slice::from_mut(&mut reader)).await;
    let head = reader.last_event_id();
    stalled.resume_reading();
    stalled.wait_end(DEADLINE).await;
    let position = stalled.last_event_id();
    let mut back = cluster.broker.connect_with("acme", Connect::after(&position)).await;
    // The log part of its position is proven, and the missed events are in no log.
    assert_eq!(back.connected().await.json()["resumed"], true);
    let reset = back.next_event(DEADLINE).await;
    let expected = serde_json::json!({ "reason": "live-events", "from": position, "head": head });
    assert_eq!((reset.kind.as_str(), reset.json()), ("tidings.reset", expected));
}

async fn a_pause_that_the_ring_covers_costs_nothing(bus: Bus) {
    const COUNT: usize = 90;
    let cluster = TestCluster::start_with(bus, SMALL).await;
    let mut client = stalled_client(&cluster).await;
    publish_to(&cluster, COUNT, &mut []).await;
    for _ in 0..3 {
        client.resume_reading();
        client.wait_for(DEADLINE, |event| event.is_from_application()).await;
        client.stop_reading();
    }
    client.resume_reading();
    let last = format!("{}:", COUNT - 1);
    client.wait_for(DEADLINE, |event| event.data.starts_with(&last)).await;
    assert_eq!(numbers(&client.application_data()), (0..COUNT).collect::<Vec<_>>());
    assert_eq!(client.end(), None);
}

async fn client_that_takes_no_bytes_is_closed(bus: Bus) {
    // A ring that holds everything: the client is not lagging, it only takes nothing.
    let settings = [("server.write_timeout_seconds", "1"), ("server.send_buffer_bytes", "16384")];
    let cluster = TestCluster::start_with(bus, &settings).await;
    let mut reader = cluster.broker.connect("acme").await;
    reader.connected().await;
    let mut stalled = stalled_client(&cluster).await;
    // Far more than the buffers on the way hold.
    publish_to(&cluster, 200, std::slice::from_mut(&mut reader)).await;
    // The default is 30 seconds.
    eventually("it is cut", DEADLINE, async || cluster.broker.status().await["subscribers"] == 1).await;
    eventually("so is its connection", DEADLINE, async || cluster.broker.status().await["connections"] == 1)
        .await;
    let line =
        eventually_some("its end is logged", DEADLINE, async || end_line(&cluster, "takes no bytes")).await;
    assert!(line.contains(&format!("address={}", stalled.local_address())), "{line}");
    stalled.resume_reading();
    assert!(matches!(stalled.wait_end(DEADLINE).await, End::Aborted(_)));
    // A client that has nothing to take is not one that takes nothing.
    assert_eq!(reader.end(), None);
    cluster.publish_live("acme", "9999:").await;
    reader.wait_for(DEADLINE, |event| event.data == "9999:").await;
}

async fn client_with_a_shut_window_is_closed(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("server.write_timeout_seconds", "1")]).await;
    let _stalled = stalled_client(&cluster).await;
    // More than the client's buffer holds, and less than the broker's: every write goes through,
    // into the kernel.
    publish_to(&cluster, 10, &mut []).await;
    eventually("it is cut", DEADLINE, async || cluster.broker.status().await["subscribers"] == 0).await;
    eventually("the log says so", DEADLINE, async || end_line(&cluster, "takes no bytes").is_some()).await;
}

async fn memory_is_bounded_without_a_reader(bus: Bus) {
    const CLIENTS: usize = 20;
    const MIB: u64 = 1024 * 1024;
    let cluster = TestCluster::start(bus).await;
    let mut reader = cluster.broker.connect("acme").await;
    reader.connected().await;
    let mut stalled = Vec::new();
    for _ in 0..CLIENTS {
        stalled.push(stalled_client(&cluster).await);
    }
    let payload = "y".repeat(100_000);
    let mut connection = cluster.connection().await;
    let mut publish_some = async |count: usize| {
        for number in 0..count {
            publish_live(&mut connection, "acme", format!("{number}:{payload}")).await;
            let begin = format!("{number}:");
            reader.wait_for(DEADLINE, |event| event.data.starts_with(&begin)).await;
        }
    };
    // Fills the ring, and what each client may hold.
    publish_some(20).await;
    let before = cluster.broker.memory_bytes();
    publish_some(200).await;
    let after = cluster.broker.memory_bytes();
    // 20 MiB came since. A client pins the events that are on their way to it; all clients share
    // the ring.
    assert!(after < before + 8 * MIB, "{} MiB, then {} MiB", before / MIB, after / MIB);
    assert_eq!(cluster.broker.status().await["subscribers"], CLIENTS + 1);
}
