//! Memory of recent events goes back to the system when their workspaces are given up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::ALONE;
use super::process::{REQUEST, ask, connect, memory_bytes, quiet, start};
use super::support::Broker;

const WORKSPACES: usize = 50;

/// The part of what the rings took that may stay, in percent.
const BUDGET_PERCENT: usize = 10;

/// How long the memory may take to go back after the last client has left.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn memory_of_released_rings_goes_back() {
    let _alone = ALONE.lock();
    // Large and small events: what allocators keep differs by size.
    for (events, bytes) in [(100, 40_000), (10_000, 200)] {
        let options = quiet()
            .set("ring.events", 10_000)
            .set("ring.bytes", 4 << 20)
            .set("ring.linger_seconds", 1)
            .set("retention.events", 10);
        let broker = start(options);
        // What the first workspace brings along stays.
        fill(&broker, &["first".to_owned()], 10, bytes);
        let before = memory_bytes(&broker);
        let workspaces: Vec<_> = (0..WORKSPACES).map(|index| format!("w{index}")).collect();
        let clients = fill(&broker, &workspaces, events, bytes);
        let full = memory_bytes(&broker).saturating_sub(before);
        assert!(full >= WORKSPACES * events * bytes / 2, "{full} bytes are too few for the rings");
        drop(clients);
        let left = || memory_bytes(&broker).saturating_sub(before);
        let until = Instant::now() + PATIENCE;
        while left() * 100 > full * BUDGET_PERCENT && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
        }
        let left = left();
        println!("events of {bytes} bytes: {full} bytes in use, {left} left");
        assert!(left * 100 <= full * BUDGET_PERCENT, "events of {bytes} bytes: {left} left of {full}");
    }
}

/// Has a client in each workspace, and live events published to it; returns the clients when the
/// hub has all events.
fn fill(broker: &Broker, workspaces: &[String], events: usize, bytes: usize) -> Vec<TcpStream> {
    let clients = workspaces.iter().map(|workspace| {
        let mut client = connect(broker);
        let request = String::from_utf8(REQUEST.to_vec()).unwrap().replace("acme", workspace);
        ask(&mut client, request.as_bytes(), 1);
        client
    });
    let clients: Vec<_> = clients.collect();
    let mut publisher = TcpStream::connect(broker.embedded()).unwrap();
    let payload = "x".repeat(bytes);
    for workspace in workspaces {
        let channel = format!("workspace:{workspace}");
        let command =
            format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${bytes}\r\n{payload}\r\n", channel.len());
        for _ in 0..events {
            publisher.write_all(command.as_bytes()).unwrap();
        }
        let mut answers = vec![0; events * ":1\r\n".len()];
        publisher.read_exact(&mut answers).unwrap();
        assert!(
            answers.starts_with(b":1\r\n"),
            "{}",
            String::from_utf8_lossy(&answers[..64.min(answers.len())])
        );
    }
    clients
}
