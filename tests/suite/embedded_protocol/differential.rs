//! The same bytes go to the embedded bus and to a real Redis server. Both return the same values
//! and the same codes of errors.

use super::Embedded;
use super::redis_server::RedisServer;
use super::wire::{Wire, command, show, show_codes, words};

/// Which of the clients sends, and what.
pub(super) type Step = (usize, Vec<u8>);

const CLIENTS: usize = 3;

pub(super) const PUBLISH_SCRIPT: &str = include_str!("../../../scripts/publish.lua");

/// The library that a node loads into Redis. The embedded bus has its function anyway.
fn library() -> String {
    format!(
        "#!lua name=tidings\nredis.register_function('tidings_publish', function(KEYS, ARGV)\n{PUBLISH_SCRIPT}\nend)\n"
    )
}

/// Takes steps from lines: a client's number, then a command whose words are parted by single
/// blanks.
pub(super) fn script(text: &str) -> Vec<Step> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (client, line) = line.split_once(' ').unwrap();
            (client.parse().unwrap(), words(line))
        })
        .collect()
}

/// The replies to each step, up to the reply to a PING behind it.
async fn transcript(clients: &mut [Wire], prelude: &[u8], steps: &[Step]) -> Vec<String> {
    let mut answers = Vec::new();
    if !prelude.is_empty() {
        for client in &mut *clients {
            client.ask(prelude).await;
        }
    }
    for (client, bytes) in steps {
        let answer = clients[*client].ask(bytes).await;
        answers.push(format!("{client}> {}\n   {}", show(bytes), show_codes(&answer)));
    }
    answers
}

/// Runs a script in both versions of the protocol against both servers, and expects the same values
/// and codes.
pub(super) async fn compare(steps: &[Step]) {
    compare_as(steps, |answers| answers).await;
}

/// The same, with replies as `normal` makes them: without the parts that must differ.
pub(super) async fn compare_as(steps: &[Step], normal: fn(Vec<String>) -> Vec<String>) {
    for prelude in [Vec::new(), words("HELLO 3")] {
        // Servers of its own for each version: subscriptions of clients that are leaving would be
        // counted.
        let (embedded, redis) = (Embedded::start().await, RedisServer::start().await);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..CLIENTS {
            ours.push(Wire::tcp(embedded.address).await);
            theirs.push(Wire::unix(&redis.socket()).await);
        }
        Wire::unix(&redis.socket()).await.ask(&command(&["FUNCTION", "LOAD", &library()])).await;
        let ours = normal(transcript(&mut ours, &prelude, steps).await);
        let theirs = normal(transcript(&mut theirs, &prelude, steps).await);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "after {:?}", show(&prelude));
        }
    }
}

#[tokio::test]
async fn simple_commands() {
    compare(&script(
        "0 PING
         0 PING hello
         0 ping
         0 PING a b
         0 ECHO hello
         0 ECHO
         0 ECHO a b
         0 SELECT 0
         0 SELECT 99999
         0 SELECT x
         0 SELECT
         0 AUTH default secret
         0 AUTH other secret
         0 AUTH a b c
         0 AUTH
         0 CLIENT
         0 CLIENT NONSENSE
         0 CLIENT SETNAME worker-1
         0 CLIENT SETNAME
         0 CLIENT SETNAME a b
         0 NONSENSE",
    ))
    .await;
}

#[tokio::test]
async fn names_with_any_bytes() {
    let steps = [
        (0, command(&["CLIENT", "SETNAME", ""])),
        (0, command(&["CLIENT", "non\r\nsense"])),
        (0, command(&["non\r\nsense"])),
        (0, command(&["PUBSUB", &"x".repeat(500)])),
        (0, command(&["HELLO", "3", "non\r\nsense"])),
    ];
    compare(&steps).await;
}

#[tokio::test]
async fn hello() {
    compare(&script(
        "0 HELLO 4
         0 HELLO 1
         0 HELLO 2 NONSENSE
         0 HELLO 2 AUTH default
         0 HELLO 2 AUTH other secret
         0 HELLO 3 SETNAME
         0 HELLO 3 SETNAME named AUTH other secret
         0 PUBSUB CHANNELS",
    ))
    .await;
}

/// The one reply that must differ, in the server's version and the client's number.
#[tokio::test]
async fn hello_names_the_server() {
    let (embedded, redis) = (Embedded::start().await, RedisServer::start().await);
    let mut ours = Wire::tcp(embedded.address).await;
    let mut theirs = Wire::unix(&redis.socket()).await;
    let normal = |answer: Vec<u8>| {
        let mut parts: Vec<String> = show(&answer).split(' ').map(str::to_owned).collect();
        let version = parts.iter().position(|part| part == "version").unwrap();
        let id = parts.iter().position(|part| part == "id").unwrap();
        assert!(parts[version + 2].starts_with("7.") && parts[id + 1].starts_with(':'), "{parts:?}");
        parts.drain(version + 1..version + 3);
        parts.remove(id - 1);
        parts
    };
    for line in
        ["HELLO", "HELLO 3", "HELLO", "HELLO 3 AUTH default x SETNAME worker", "HELLO 2", "HELLO 2 SETNAME w"]
    {
        let (ours, theirs) = (ours.ask(&words(line)).await, theirs.ask(&words(line)).await);
        assert_eq!(normal(ours), normal(theirs), "{line}");
    }
}

#[tokio::test]
async fn subscribing_and_publishing() {
    compare(&script(
        "0 SUBSCRIBE
         0 PSUBSCRIBE
         0 UNSUBSCRIBE
         0 PUNSUBSCRIBE
         0 UNSUBSCRIBE a b
         0 PUNSUBSCRIBE a*
         0 SUBSCRIBE a b a
         0 SUBSCRIBE b
         0 PSUBSCRIBE a* a* x*
         0 PING
         0 PING hello
         1 PUBLISH a 1
         1 PUBLISH b 2
         1 PUBLISH abc 3
         1 PUBLISH xy 4
         1 PUBLISH nobody 5
         1 PUBLISH a
         1 PUBLISH
         1 PUBLISH a b c
         0 UNSUBSCRIBE b nobody
         1 SUBSCRIBE a
         2 PUBLISH a 6
         2 PUBSUB CHANNELS
         2 PUBSUB CHANNELS b*
         2 PUBSUB CHANNELS a b
         2 PUBSUB
         2 PUBSUB NONSENSE
         1 PING
         0 PUNSUBSCRIBE a*
         0 UNSUBSCRIBE
         0 PUNSUBSCRIBE
         0 PING
         0 PUNSUBSCRIBE
         2 PUBLISH a 7
         1 UNSUBSCRIBE a
         2 PUBLISH a 8
         1 PING",
    ))
    .await;
}

#[tokio::test]
async fn commands_of_a_subscriber() {
    compare(&script(
        "0 SUBSCRIBE a
         0 ECHO hello
         0 publish b x
         0 CLIENT
         0 CLIENT NONSENSE
         0 SELECT 0
         0 PUBSUB CHANNELS
         0 PING a b
         0 ECHO
         0 PSUBSCRIBE p*
         0 UNSUBSCRIBE
         0 ECHO hello
         0 PUNSUBSCRIBE
         0 ECHO hello
         0 PUBLISH a x",
    ))
    .await;
}

/// A RESP3 client receives its own message; the order of message and count is that of Redis.
#[tokio::test]
async fn a_publisher_that_listens() {
    let (embedded, redis) = (Embedded::start().await, RedisServer::start().await);
    let mut ours = Wire::tcp(embedded.address).await;
    let mut theirs = Wire::unix(&redis.socket()).await;
    for wire in [&mut ours, &mut theirs] {
        wire.ask(&words("HELLO 3")).await;
    }
    for line in ["SUBSCRIBE a", "PUBLISH a 1", "PSUBSCRIBE *", "PUBLISH a 2", "PUBSUB CHANNELS", "ECHO x"] {
        let (ours, theirs) = (ours.ask(&words(line)).await, theirs.ask(&words(line)).await);
        assert_eq!(show(&ours), show(&theirs), "{line}");
    }
    // Back in RESP2 the subscriptions remain, and with them the restriction.
    for wire in [&mut ours, &mut theirs] {
        wire.ask(&words("HELLO 2")).await;
    }
    for line in ["PUBLISH a 3", "PING", "UNSUBSCRIBE", "PUNSUBSCRIBE", "PUBLISH a 4"] {
        let (ours, theirs) = (ours.ask(&words(line)).await, theirs.ask(&words(line)).await);
        assert_eq!(show_codes(&ours), show_codes(&theirs), "{line}");
    }
}

#[tokio::test]
async fn ends_of_connections() {
    compare(&script(
        "0 SUBSCRIBE a
         0 QUIT
         1 QUIT now please
         2 PUBLISH a x",
    ))
    .await;
}

#[tokio::test]
async fn payloads_of_any_bytes() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large = vec![b'x'; 200_000];
    let mut steps = vec![(0, command(&[&b"SUBSCRIBE"[..], b"a", &every_byte]))];
    for payload in [&b""[..], b"\r\n", &every_byte, &large] {
        steps.push((1, command(&[b"PUBLISH", &b"a"[..], payload])));
        steps.push((1, command(&[b"PUBLISH", &every_byte[..], payload])));
        steps.push((0, words("PING")));
        steps.push((1, command(&[b"ECHO", payload])));
    }
    compare(&steps).await;
}

#[tokio::test]
async fn pipelines() {
    let publishes: Vec<u8> =
        (0..500).flat_map(|number| words(&format!("PUBLISH a message-{number}"))).collect();
    let mixed = [words("SUBSCRIBE a"), words("PUBLISH a x"), words("UNSUBSCRIBE"), words("ECHO x")];
    compare(&[
        (0, words("SUBSCRIBE a")),
        (1, [publishes.clone(), publishes].concat()),
        (0, words("PING")),
        (0, words("UNSUBSCRIBE")),
        (2, mixed.concat()),
        (2, [words("ECHO last"), words("QUIT"), words("ECHO never")].concat()),
    ])
    .await;
}

#[tokio::test]
async fn malformed_commands() {
    let malformed: [&[u8]; 8] = [
        b"*x\r\n",
        b"*1\r\nPING\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n*1\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-1\r\n",
        b"*99999999999\r\n",
        b"*1\r\n$99999999999\r\n",
    ];
    for bytes in malformed {
        compare(&[(0, bytes.to_vec()), (1, words("PING"))]).await;
    }
}

/// Random patterns and names: Redis decides which match.
#[tokio::test]
async fn patterns() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut text = |alphabet: &[u8], least: usize, most: usize| {
        (0..random.usize(least..=most)).map(|_| alphabet[random.usize(..alphabet.len())]).collect::<Vec<u8>>()
    };
    let mut steps = Vec::new();
    for _ in 0..40 {
        // In RESP2 a subscriber cannot publish.
        let mut pipeline = words("HELLO 3 SETNAME p");
        for _ in 0..25 {
            let pattern = text(b"aabbc***", 0, 9);
            let name = text(b"aaabbbc*", 1, 6);
            pipeline.extend(command(&[b"PSUBSCRIBE", &pattern[..]]));
            pipeline.extend(command(&[b"PUBLISH", &name[..], b"x"]));
            pipeline.extend(command(&[b"PUNSUBSCRIBE", &pattern[..]]));
        }
        steps.push((0, pipeline));
    }
    let (embedded, redis) = (Embedded::start().await, RedisServer::start().await);
    let mut ours = [Wire::tcp(embedded.address).await];
    let mut theirs = [Wire::unix(&redis.socket()).await];
    let skip_hello = |answer: &String| answer.split_once("modules *0 ").map(|(_, rest)| rest.to_owned());
    let ours = transcript(&mut ours, b"", &steps).await;
    let theirs = transcript(&mut theirs, b"", &steps).await;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(skip_hello(ours).unwrap(), skip_hello(theirs).unwrap());
    }
}
