//! The port of the embedded bus under attack: the node as a whole.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::{MIB, peak};
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually};

/// Sends bytes and waits until the broker has ended the connection.
async fn offend(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // That the broker has closed shows when reading.
    let _ = stream.write_all(bytes).await;
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("the connection is not ended");
}

/// How many lines of a kind there are in the log, and how many they say were left out.
fn counted(log: &str, kind: &str) -> (u64, u64) {
    let lines: Vec<_> = log.lines().filter(|line| line.contains(kind)).collect();
    let silenced = lines.iter().filter_map(|line| {
        line.split("silenced=")
            .nth(1)?
            .split(|letter: char| !letter.is_ascii_digit())
            .next()?
            .parse::<u64>()
            .ok()
    });
    (lines.len() as u64, silenced.sum())
}

#[tokio::test]
async fn floods_of_offences_are_few_lines_that_count_all() {
    const OFFENCES: u64 = 500;
    let broker = Broker::start(BrokerOptions::embedded()).await;
    let offences = [&b"*x\r\n"[..], b"POST / HTTP/1.1\r\n"];
    const KIND: &str = "Protocol error";
    let began = Instant::now();
    for _ in 0..OFFENCES / 2 {
        for bytes in offences {
            offend(broker.embedded(), bytes).await;
        }
    }
    let seconds = began.elapsed().as_secs() + 2;
    let lines = counted(&broker.log(), KIND).0;
    assert!((1..=seconds).contains(&lines), "{lines} lines in {seconds} s");
    // The next line of a kind, a second later, says how many were left out.
    sleep(Duration::from_millis(1100)).await;
    offend(broker.embedded(), offences[0]).await;
    eventually("all are counted", DEADLINE, async || {
        let (lines, silenced) = counted(&broker.log(), KIND);
        lines + silenced == OFFENCES + 1
    })
    .await;
}

#[tokio::test]
async fn clients_beyond_the_limit_are_few_lines() {
    let broker = Broker::start(BrokerOptions::embedded().set("embedded.clients", 1)).await;
    let began = Instant::now();
    for _ in 0..300 {
        // Of two, at least one finds the only place taken, and the place is free again afterwards.
        let mut one = TcpStream::connect(broker.embedded()).await.unwrap();
        let mut other = TcpStream::connect(broker.embedded()).await.unwrap();
        let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
        let refusal = async {
            tokio::select! {
                read = one.read_to_end(&mut of_one) => read,
                read = other.read_to_end(&mut of_other) => read,
            }
        };
        let _ = timeout(DEADLINE, refusal).await.expect("nobody is turned away");
    }
    let lines = counted(&broker.log(), "the embedded bus rejects clients").0;
    assert!((1..=began.elapsed().as_secs() + 2).contains(&lines), "{lines} lines");
}

const CLIENTS_BYTES: u64 = 64 * MIB;

/// What the embedded bus may take beside its bounds, by `docs/operations.md`: above all buffers
/// that grow.
const BESIDE_BYTES: u64 = 48 * MIB;

/// What the attacks below may add: the configured sum, and a quarter of it.
const ADDED_BYTES_MAX: u64 = (CLIENTS_BYTES + BESIDE_BYTES) / 4 * 5;

fn command(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A broker whose workspace `acme` has many events in its log.
async fn broker_with_log(events: usize) -> Broker {
    let options = BrokerOptions::embedded()
        .set("retention.events", 1_000_000)
        .set("embedded.clients_bytes", CLIENTS_BYTES);
    let broker = Broker::start_ready(options).await;
    let client = redis::Client::open(format!("redis://{}", broker.embedded())).unwrap();
    // The library's own patience is half a second, which a busy machine can take.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    for _ in 0..events / 1000 {
        let mut publish = redis::cmd("FCALL");
        publish.arg(&[
            "tidings_publish",
            "1",
            "workspace:acme",
            "a payload of a few bytes",
            "",
            "",
            "",
            "",
            "",
        ]);
        publish.arg(vec!["a payload of a few bytes"; 999]);
        let ids: Vec<String> = publish.query_async(&mut connection).await.unwrap();
        assert_eq!(ids.len(), 1000);
    }
    broker
}

/// Publishes, and has a small part of the log read, again and again, and returns the longest time
/// that this took.
async fn go_on_as_others(broker: &Broker, rounds: usize) -> Duration {
    let mut client = TcpStream::connect(broker.embedded()).await.unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        let began = Instant::now();
        broker.publish("other", "an event").await;
        client
            .write_all(&command(&[b"XREVRANGE", b"workspace:other", b"+", b"-", b"COUNT", b"1"]))
            .await
            .unwrap();
        let mut reply = Vec::new();
        let reading = async {
            while !ends_entry(&reply) {
                assert!(client.read_buf(&mut reply).await.unwrap() > 0, "an innocent client was cut off");
            }
        };
        timeout(DEADLINE, reading).await.expect("no answer");
        longest = longest.max(began.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    longest
}

/// Whether a reply holds an entry of two fields as a whole, by its lines.
fn ends_entry(reply: &[u8]) -> bool {
    reply.iter().filter(|&&byte| byte == b'\n').count() == 13
}

/// A publication with an idempotency key returns all its ids, also to a shorter repetition.
#[tokio::test]
async fn replies_of_a_transaction_are_bounded_as_a_whole() {
    let broker = broker_with_log(0).await;
    let before = peak(&broker);
    let mut client = TcpStream::connect(broker.embedded()).await.unwrap();
    let call: [&[u8]; 11] =
        [b"FCALL", b"tidings_publish", b"1", b"workspace:acme", b"x", b"", b"", b"key", b"", b"", b"x"];
    let first = command(&[&call[..], &[&b"x"[..]; 998]].concat());
    let bytes = [first, command(&[b"MULTI"]), command(&call).repeat(250), command(&[b"EXEC"])].concat();
    client.write_all(&[bytes, command(&[b"PING"])].concat()).await.unwrap();
    let mut replies = Vec::new();
    let reading = async {
        while !replies.ends_with(b"+PONG\r\n") {
            assert!(client.read_buf(&mut replies).await.unwrap() > 0, "cut off");
        }
    };
    timeout(DEADLINE, reading).await.expect("no answer");
    let text = String::from_utf8_lossy(&replies);
    assert!(text.starts_with("*1000\r\n") && text.matches("+QUEUED").count() == 250);
    assert!(text.ends_with("ask for less, as with COUNT\r\n+PONG\r\n"), "{}", &text[text.len() - 200..]);
    let added = peak(&broker).saturating_sub(before);
    assert!(added < ADDED_BYTES_MAX, "{} MiB", added / MIB);
}

#[tokio::test]
async fn reads_of_clients_that_do_not_read_harm_no_others() {
    const CLIENTS: usize = 16;
    let broker = broker_with_log(300_000).await;
    let before = peak(&broker);
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = TcpStream::connect(broker.embedded()).await.unwrap();
        // Of both kinds: replies that are too large, and such as are just not.
        let count: &[u8] = if number % 2 == 0 { b"1000000" } else { b"35000" };
        let read = command(&[b"XRANGE", b"workspace:acme", b"-", b"+", b"COUNT", count]);
        client.write_all(&read.repeat(128)).await.unwrap();
        clients.push(client);
    }
    let longest = go_on_as_others(&broker, 50).await;
    assert!(longest < Duration::from_secs(15), "{longest:?}");
    let added = peak(&broker).saturating_sub(before);
    assert!(added < ADDED_BYTES_MAX, "{} MiB", added / MIB);
}

#[tokio::test]
async fn unfinished_commands_of_many_clients_are_bounded_in_all() {
    const CLIENTS: usize = 200;
    let broker = broker_with_log(0).await;
    let before = peak(&broker);
    let part = [&b"*2\r\n$4\r\nECHO\r\n$1200000\r\n"[..], &vec![b'x'; 1_100_000]].concat();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(broker.embedded()).await.unwrap();
        // A client that is disconnected meanwhile cannot send all of it.
        let _ = timeout(DEADLINE, client.write_all(&part)).await.expect("nobody takes the bytes");
        clients.push(client);
    }
    go_on_as_others(&broker, 20).await;
    let added = peak(&broker).saturating_sub(before);
    assert!(added < ADDED_BYTES_MAX, "{} MiB", added / MIB);
}

#[tokio::test]
async fn queued_commands_of_many_clients_are_bounded_in_all() {
    const CLIENTS: usize = 20;
    let broker = broker_with_log(0).await;
    let before = peak(&broker);
    let empty: Vec<&[u8]> =
        std::iter::once(&b"DEL"[..]).chain(std::iter::repeat_n(&b""[..], 16_000)).collect();
    let bytes = [command(&[b"MULTI"]), command(&empty).repeat(20)].concat();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(broker.embedded()).await.unwrap();
        let _ = timeout(DEADLINE, client.write_all(&bytes)).await.expect("nobody takes the bytes");
        clients.push(client);
    }
    go_on_as_others(&broker, 20).await;
    let added = peak(&broker).saturating_sub(before);
    assert!(added < ADDED_BYTES_MAX, "{} MiB", added / MIB);
}
