//! Very many: workspaces, and connections on which nothing is said.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::{MIB, Observer, setting};
use crate::support::raw::{RawConnection, head};
use crate::support::{Broker, BrokerOptions};

/// Connections of the client that visits many workspaces.
const VISITORS: usize = 32;

/// Numbers that are handed out, each once.
#[derive(Clone)]
struct Numbers(Arc<AtomicUsize>, usize);

impl Numbers {
    fn to(count: usize) -> Self {
        Self(Arc::default(), count)
    }

    fn next(&self) -> Option<usize> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        (number < self.1).then_some(number)
    }
}

/// Asks for a stream of one workspace after the other. A refusal leaves the connection as it is; a
/// stream is left at once.
async fn join(address: SocketAddr, numbers: Numbers) -> (usize, usize) {
    let (mut joined, mut refused) = (0, 0);
    let mut connection = None;
    while let Some(number) = numbers.next() {
        let target = format!("/api/workspaces/w-{number}/events?errors=http");
        let mut asking = match connection.take() {
            Some(connection) => connection,
            None => RawConnection::open(address).await,
        };
        asking.send(head("GET", &target, &[("Accept", "text/event-stream")])).await;
        match asking.status().await.as_u16() {
            200 => joined += 1,
            503 => {
                refused += 1;
                connection = Some(asking);
            }
            status => panic!("{status}"),
        }
    }
    (joined, refused)
}

/// Publishes to one workspace after the other.
async fn publish(address: SocketAddr, numbers: Numbers) -> (usize, usize) {
    let mut connection = RawConnection::open(address).await;
    let (mut published, mut refused) = (0, 0);
    while let Some(number) = numbers.next() {
        let target = format!("/api/workspaces/w-{number}/events");
        let request = head("POST", &target, &[("Content-Length", "100")]) + &"x".repeat(100);
        match connection.exchange(request).await.status.as_u16() {
            200 => published += 1,
            429 | 503 => refused += 1,
            status => panic!("{status}"),
        }
    }
    (published, refused)
}

fn told(what: &str, counts: &[(usize, usize)], began: Instant, broker: &Broker) -> (usize, usize) {
    let sum = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let memory = broker.memory_bytes() / MIB;
    println!("{what}: {} and {} refused, in {:?}, {memory} MiB", sum.0, sum.1, began.elapsed());
    sum
}

/// `HOSTILE_WORKSPACES=1000000` makes it a million.
#[tokio::test]
async fn million_workspaces_of_one_address_are_bounded() {
    const WORKSPACES: usize = 500;
    let count = setting("HOSTILE_WORKSPACES", 10_000);
    let broker = Broker::start(BrokerOptions::embedded().set("limits.workspaces", WORKSPACES)).await;
    let observer = Observer::start(&broker).await;
    let address = broker.address();

    // A client that leaves frees its place for the next at once.
    let (numbers, began) = (Numbers::to(count), Instant::now());
    let visits = join_all((0..VISITORS).map(|_| join(address, numbers.clone()))).await;
    let (joined, refused) = told("joined", &visits, began, &broker);
    assert_eq!(joined + refused, count);
    assert!(joined > count / 2, "{joined} joined, {refused} refused");
    assert!(broker.status().await["workspaces"].as_u64().unwrap() <= WORKSPACES as u64);

    // A client that remains takes a place; one of them is the observer.
    let mut held = Vec::new();
    for number in 1..WORKSPACES {
        held.push(broker.connect(&format!("held-{number}")).await);
    }
    let (numbers, began) = (Numbers::to(count), Instant::now());
    let visits = join_all((0..VISITORS).map(|_| join(address, numbers.clone()))).await;
    assert_eq!(told("joined", &visits, began, &broker), (0, count));
    observer.finish(&broker, 64 * MIB).await;
}

/// `HOSTILE_WORKSPACES=1000000` makes it a million.
#[tokio::test]
async fn million_logs_are_bounded() {
    let count = setting("HOSTILE_WORKSPACES", 10_000);
    const LOG_BYTES: u64 = 16 * MIB;
    let options = BrokerOptions::embedded().set("embedded.log_bytes", LOG_BYTES).set("retention.bytes", MIB);
    let broker = Broker::start(options).await;
    let observer = Observer::start(&broker).await;
    let (numbers, began) = (Numbers::to(count), Instant::now());
    let publications = join_all((0..VISITORS).map(|_| publish(broker.address(), numbers.clone()))).await;
    let (published, refused) = told("published", &publications, began, &broker);
    assert_eq!(published + refused, count);
    assert!(published > 0);
    observer.finish(&broker, 4 * LOG_BYTES + 32 * MIB).await;
}

/// How many files this process may have open, the sockets of other tests included.
fn files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX)
}

#[tokio::test]
async fn ten_thousand_silent_connections_are_closed() {
    const TIMEOUT: Duration = Duration::from_secs(4);
    // A connection costs at most this, in bytes, while its head is awaited.
    const CONNECTION_BYTES: u64 = 24 * 1024;
    let count = 10_000.min(files_max() / 2);
    let options = BrokerOptions::embedded().set("server.header_timeout_seconds", TIMEOUT.as_secs());
    let broker = Broker::start(options).await;
    let observer = Observer::start(&broker).await;
    let (began, mut most) = (Instant::now(), 0);
    let mut silent = Vec::with_capacity(count);
    for number in 0..count {
        silent.push(TcpStream::connect(broker.address()).await.expect("connect"));
        if number % 1000 == 999 {
            most = most.max(broker.memory_bytes());
        }
    }
    println!("{count} connections in {:?}, {} MiB", began.elapsed(), most / MIB);
    let growth = most.saturating_sub(observer.memory_before);
    assert!(growth < count as u64 * CONNECTION_BYTES + 16 * MIB, "{} MiB", growth / MIB);
    let cuts = silent.iter_mut().map(|stream| async {
        let mut rest = [0; 1];
        // Closed without a response, by an end or a reset.
        assert!(matches!(stream.read(&mut rest).await, Ok(0) | Err(_)));
    });
    tokio::time::timeout(TIMEOUT * 5, join_all(cuts)).await.expect("all are cut in time");
    drop(silent);
    observer.finish(&broker, count as u64 * CONNECTION_BYTES + 32 * MIB).await;
}
