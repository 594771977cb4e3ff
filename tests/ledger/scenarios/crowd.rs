//! A crowd reconnects at once at the same position.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tidings_testkit::ledger::{Setting, Setup, Way, print};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{RedisServer, http};

const CROWD: usize = 5_000;
const EVENTS: usize = 150;
/// How long a broker keeps a page for other clients at the same position. The crowd needs longer to
/// connect on two cores beside other tests.
const KEPT: Duration = Duration::from_secs(10);
/// Reads that one client needs: two pages of `replay.page_events`.
const PAGES: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the server was asked for a part of a log.
async fn range_reads(redis: &RedisServer) -> u64 {
    let stats = redis.info("commandstats").await;
    let calls = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_xrange:calls=")?.split(',').next()?.parse::<u64>().ok());
    calls.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_comes_back_to_one_position() {
    let mut setting = Setting { workspaces: 1, clients: 2, ..Setting::default() };
    // The script reads the log's oldest entry for itself, which would count.
    setting.publishers.ways = vec![Way::Plain];
    setting.publishers.pace = Duration::from_hours(1);
    // The crowd is held until the first page has arrived. A slow client must not get a reconnect
    // meanwhile.
    setting.brokers.push(("redis.confirm_seconds", PATIENCE.as_secs().to_string()));
    let (redis, mut setup) = Setup::open("a crowd comes back", setting).await;
    let broker = setup.brokers[0].address();
    let first = publish(broker, 0).await;
    for number in 1..=EVENTS {
        publish(broker, number).await;
    }
    // No broker has events in memory any more.
    setup.brokers[0].restart().await;
    setup.brokers[0].ready().await;

    let before = range_reads(&redis).await;
    let began = Instant::now();
    let request = format!(
        "GET /api/workspaces/crowd/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nLast-Event-ID: {first}\r\n\r\n"
    );
    let clients: Vec<_> = (0..CROWD).map(|_| tokio::spawn(come_back(broker, request.clone()))).collect();
    let (mut received, mut wrong) = (0, 0);
    for client in clients {
        let numbers = tokio::time::timeout(PATIENCE, client).await.expect("in time").expect("a client");
        received += numbers.len();
        wrong += usize::from(numbers != (1..=EVENTS).collect::<Vec<_>>());
    }
    let (reads, took) = (range_reads(&redis).await - before, began.elapsed());
    print(&format!(
        "ledger: {CROWD} clients come back at once to one position: {received} events received of {}, {wrong} clients \
         without the exact sequence, {reads} XRANGE; {:.1} s",
        CROWD * EVENTS,
        took.as_secs_f64()
    ));
    assert_eq!(wrong, 0);
    let reads_max = PAGES * (1 + took.as_secs().div_ceil(KEPT.as_secs()));
    assert!((1..=reads_max).contains(&reads), "{reads} reads in {took:?}");
    setup.close().await;
}

async fn publish(broker: SocketAddr, number: usize) -> String {
    let target = "/api/workspaces/crowd/events";
    let response = http::request(broker, "POST", target, &[], format!("crowd={number};")).await;
    response.json()["id"].as_str().expect("an id").to_owned()
}

/// Connects, and returns the numbers of the events up to the last one.
async fn come_back(broker: SocketAddr, request: String) -> Vec<usize> {
    let mut stream = TcpStream::connect(broker).await.expect("connect");
    stream.write_all(request.as_bytes()).await.expect("send");
    let last = format!("crowd={EVENTS};");
    let mut bytes = Vec::new();
    while !bytes.windows(last.len()).rev().take(8 * 1024).any(|window| window == last.as_bytes()) {
        let read = stream.read_buf(&mut bytes).await.expect("read");
        let end = || String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(300)..]);
        assert_ne!(read, 0, "the stream ended early: {}", end());
    }
    let text = String::from_utf8_lossy(&bytes);
    let numbers = text.split("crowd=").skip(1).filter_map(|rest| rest.split(';').next()?.parse().ok());
    numbers.collect()
}
