//! Nothing stays of a client that is gone.

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::raw::{RawConnection, head};
use crate::support::test_cluster::on_both_buses;
use crate::support::{Broker, Bus, DEADLINE, TestCluster, eventually};

on_both_buses!(
    client_that_leaves_an_idle_stream_is_gone,
    client_that_leaves_before_the_connected_event_leaves_nothing,
    client_with_bytes_behind_its_request_is_noticed_to_leave,
    ten_thousand_come_and_go_and_nothing_stays,
);

/// Heartbeats and keepalives come long after the deadline of a test.
const LATE: [(&str, &str); 2] = [("sse.heartbeat_seconds", "3600"), ("server.keepalive_seconds", "3600")];

/// Waits until no client is connected.
async fn no_client_left(broker: &Broker) {
    eventually("everyone is gone", DEADLINE, async || {
        let status = broker.status().await;
        status["subscribers"] == 0 && status["connections"] == 0
    })
    .await;
}

async fn client_that_leaves_an_idle_stream_is_gone(bus: Bus) {
    // Neither a heartbeat nor a keepalive finds out.
    let cluster = TestCluster::start_with(bus, &LATE).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = cluster.broker.connect("acme").await;
        client.connected().await;
        clients.push(client);
    }
    assert_eq!(cluster.broker.status().await["subscribers"], 10);
    clients.truncate(4);
    eventually("they are gone", DEADLINE, async || cluster.broker.status().await["subscribers"] == 4).await;
    assert_eq!(cluster.broker.status().await["connections"], 4);
    drop(clients);
    no_client_left(&cluster.broker).await;
}

/// A second request behind a stream never gets a response, and must not hide that the client is
/// gone.
async fn client_with_bytes_behind_its_request_is_noticed_to_leave(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &LATE).await;
    for more in ["X", "GET /api/workspaces/acme/events HTTP/1.1\r\n"] {
        let mut connection = RawConnection::open(cluster.broker.address()).await;
        let request = head("GET", "/api/workspaces/acme/events", &[("Accept", "text/event-stream")]);
        connection.send([request.as_ref(), more.as_bytes()].concat()).await;
        eventually("it is subscribed", DEADLINE, async || cluster.broker.status().await["subscribers"] == 1)
            .await;
        drop(connection);
        eventually("it is gone", DEADLINE, async || cluster.broker.status().await["subscribers"] == 0).await;
    }
    no_client_left(&cluster.broker).await;
}

async fn client_that_leaves_before_the_connected_event_leaves_nothing(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    for _ in 0..50 {
        let mut connection = RawConnection::open(cluster.broker.address()).await;
        connection.send(head("GET", "/api/workspaces/acme/events", &[("Accept", "text/event-stream")])).await;
    }
    no_client_left(&cluster.broker).await;
}

async fn ten_thousand_come_and_go_and_nothing_stays(bus: Bus) {
    const ROUNDS: usize = 100;
    const AT_A_TIME: usize = 100;
    const MIB: u64 = 1024 * 1024;
    let settings = [("ring.linger_seconds", "0.2"), ("log.level", "warn"), ("limits.connections", "200")];
    let cluster = TestCluster::start_with(bus, &settings).await;
    let mut stayed = cluster.broker.connect("stays").await;
    stayed.connected().await;
    let round = async |round: usize| {
        // Most meet in one workspace; every tenth has one of its own.
        let clients = (0..AT_A_TIME).map(|client| come_and_go(&cluster.broker, round, client));
        futures_util::future::join_all(clients).await;
    };
    let settled = async || {
        eventually("everyone is gone", DEADLINE, async || {
            let status = cluster.broker.status().await;
            status["subscribers"] == 1 && status["connections"] == 1 && status["workspaces"] == 1
        })
        .await;
    };

    // Buffers, stacks and tables grow to what the rounds need.
    for number in 0..ROUNDS / 10 {
        round(number).await;
    }
    settled().await;
    let (files, memory) = (cluster.broker.open_files(), cluster.broker.memory_bytes());
    for number in ROUNDS / 10..ROUNDS {
        round(number).await;
    }
    settled().await;
    let accepted = cluster.broker.status().await["counters"]["connectionsAccepted"].as_u64().unwrap();
    assert_eq!(accepted, (ROUNDS * AT_A_TIME) as u64 + 1);
    // The connection that asked for the status may take a moment to close.
    eventually("no file is left open", DEADLINE, async || cluster.broker.open_files() <= files).await;
    let grown = cluster.broker.memory_bytes().saturating_sub(memory);
    assert!(grown < 8 * MIB, "{} KiB more than the {} KiB after a tenth", grown / 1024, memory / 1024);

    cluster.publish_live("stays", "still here").await;
    assert_eq!(stayed.application_event().await.data, "still here");
}

/// One short visit, over a bare socket: reads up to the `connected` event, and leaves in one of
/// three ways.
async fn come_and_go(broker: &Broker, round: usize, client: usize) {
    let workspace =
        if client.is_multiple_of(10) { format!("own-{round}-{client}") } else { "common".to_owned() };
    let mut stream = TcpStream::connect(broker.address()).await.unwrap();
    let target = format!("/api/workspaces/{workspace}/events");
    let request = head("GET", &target, &[("Accept", "text/event-stream")]);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(11).any(|window| window == b"\"connected\"") {
        let read = tokio::time::timeout(DEADLINE, stream.read_buf(&mut answer)).await.unwrap().unwrap();
        assert_ne!(read, 0, "the stream ended before the connected event");
    }
    match client % 3 {
        // Closes in order, or with what is still unread: a reset.
        0 => stream.set_zero_linger().unwrap(),
        1 => stream.shutdown().await.unwrap(),
        _ => {}
    }
}

#[tokio::test]
async fn a_broker_that_was_frozen_finds_everything_in_order() {
    let cluster = TestCluster::start(Bus::Redis).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = cluster.broker.connect("acme").await;
        client.connected().await;
        clients.push(client);
    }
    cluster.broker.signal(Signal::SIGSTOP);
    cluster.publish_live("acme", "while it stood still").await;
    clients.truncate(5);
    cluster.broker.signal(Signal::SIGCONT);
    for client in &mut clients {
        assert_eq!(client.application_event().await.data, "while it stood still");
    }
    eventually("the others are gone", DEADLINE, async || cluster.broker.status().await["subscribers"] == 5)
        .await;
}
