//! A server, or something else at its address, sends a response without end. The client library
//! keeps a response until it is complete.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::RECOVERY;
use crate::support::commands::run_tidings;
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, Flood, RedisServer, TcpProxy, eventually};

/// The bound of these tests, in bytes.
const REPLY_BYTES: usize = 2 << 20;

/// What the broker and its connections take at most. One response without a bound takes more within
/// a second.
const MEMORY_MAX: u64 = 150 << 20;

const WARNING: &str = "sends a reply or message that is too long";

fn settings(url: &str) -> [(&'static str, String); 5] {
    [
        ("redis.url", url.to_owned()),
        ("redis.reply_bytes", REPLY_BYTES.to_string()),
        ("limits.event_bytes", "65536".to_owned()),
        ("replay.page_events", "10".to_owned()),
        ("replay.newest_max", "10".to_owned()),
    ]
}

fn options(url: &str) -> BrokerOptions {
    settings(url).into_iter().fold(BrokerOptions::embedded(), |options, (key, value)| options.set(key, value))
}

/// Something that is no Redis: it sends the same to every client, for as long as the client reads.
struct Endless {
    address: SocketAddr,
    clients: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Endless {
    /// Sends `first`, and then `more` without end.
    async fn start(first: &'static [u8], more: &'static [u8]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let clients = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&clients);
        let accepting = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    // It speaks when it was asked, or the client library takes its words for an
                    // early error.
                    let _ = client.read(&mut [0; 1024]).await;
                    let mut bytes = first.to_vec();
                    while client.write_all(&bytes).await.is_ok() {
                        bytes = more.repeat(64 * 1024 / more.len());
                    }
                });
            }
        });
        Self { address, clients, accepting }
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Ways not to end: a text, one that is announced as too long, a line, many small values, and
/// values within values.
const WAYS: [(&[u8], &[u8]); 4] = [
    (b"$2147483647\r\n", b"x"),
    (b"+", b"x"),
    (b"*2000000000\r\n", b":1\r\n"),
    (b"*30000\r\n", b"$100\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n"),
];

fn check_memory(broker: &Broker) {
    let peak = broker.memory_peak_bytes();
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
}

#[tokio::test]
async fn answer_without_end_does_not_fill_the_memory() {
    for (first, more) in WAYS {
        let endless = Endless::start(first, more).await;
        let broker = Broker::start(options(&endless.url())).await;
        broker.logged(WARNING).await;
        // The pauses between attempts grow: there are few in any time.
        eventually("it is tried again", DEADLINE, async || endless.clients.load(Ordering::Relaxed) >= 4)
            .await;
        check_memory(&broker);
        let ready = crate::support::http::get(broker.admin(), "/ready").await;
        assert!(ready.text().contains("redis.reply_bytes"), "{}", ready.text());
    }
}

#[tokio::test]
async fn sentinel_without_end_does_not_fill_the_memory() {
    let (first, more) = WAYS[3];
    let endless = Endless::start(first, more).await;
    let options = options("").set("redis.sentinel.nodes", endless.url());
    let broker = Broker::start(options).await;
    broker.logged(WARNING).await;
    eventually("it is asked again", DEADLINE, async || endless.clients.load(Ordering::Relaxed) >= 3).await;
    check_memory(&broker);
}

#[tokio::test]
async fn check_names_the_bound_that_an_answer_passes() {
    for (first, more) in WAYS {
        let endless = Endless::start(first, more).await;
        let settings = settings(&endless.url());
        let borrowed: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let finished = run_tidings(&["check"], &borrowed).await;
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stdout.contains("redis.reply_bytes (2097152)"), "{finished:?}");
    }
}

/// What a proxy sends without end, and the log line of a node.
const FLOODS: [(Flood, &str); 2] =
    [(Flood::Reply, WARNING), (Flood::Confirmations, "confirms subscriptions that the node did not request")];

#[tokio::test]
async fn endless_messages_make_the_event_link_again() {
    for (flood, warning) in FLOODS {
        let server = RedisServer::start().await;
        let proxy = TcpProxy::start(server.port()).await;
        let broker = Broker::start_ready(options(&proxy.url(""))).await;
        let mut client = broker.connect("acme").await;
        client.connected().await;
        server.publish("workspace:acme", "before").await;
        client.wait_for(DEADLINE, |event| event.data == "before").await;
        proxy.flood_events(flood);
        let reset = client.wait_for(RECOVERY, |event| event.kind == "tidings.reset").await;
        assert_eq!(reset.json()["reason"], "interrupted");
        broker.logged(warning).await;
        broker.logged("no link to Redis").await;
        broker.ready().await;
        server.publish("workspace:acme", "after").await;
        client.wait_for(DEADLINE, |event| event.data == "after").await;
        check_memory(&broker);
    }
}

#[tokio::test]
async fn endless_messages_make_the_command_link_again() {
    for (flood, warning) in FLOODS {
        let server = RedisServer::start().await;
        let proxy = TcpProxy::start(server.port()).await;
        let broker = Broker::start_ready(options(&proxy.url(""))).await;
        let mut client = broker.connect("acme").await;
        client.connected().await;
        broker.publish("acme", "before").await;
        proxy.flood_commands(flood);
        broker.logged(warning).await;
        eventually("publishing works again", RECOVERY, async || {
            broker.try_publish("acme", "after").await.is_some()
        })
        .await;
        client.wait_for(DEADLINE, |event| event.data == "after").await;
        assert_eq!(client.application_data(), ["before", "after"]);
        assert_eq!(broker.status().await["bus"]["interruptions"], 0);
        check_memory(&broker);
    }
}

/// Such entries are none of the broker's own, which are bounded.
#[tokio::test]
async fn log_with_too_large_pages_harms_no_other() {
    let server = RedisServer::start().await;
    let broker = Broker::start_ready(options(&server.url())).await;
    let large = "x".repeat(REPLY_BYTES / 4);
    for _ in 0..6 {
        server.command::<String>(&["XADD", "workspace:large", "*", "data", &large]).await;
    }
    let mut client = broker.connect_with("large", Connect::query("last=10")).await;
    let reset = client.wait_for(RECOVERY, |event| event.kind == "tidings.reset").await;
    assert_eq!(reset.json()["reason"], "log-unreadable");
    let mut other = broker.connect("other").await;
    other.connected().await;
    eventually("publishing works", RECOVERY, async || broker.try_publish("other", "event").await.is_some())
        .await;
    other.wait_for(DEADLINE, |event| event.data == "event").await;
    check_memory(&broker);
}
