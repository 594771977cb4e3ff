//! The embedded bus with a password: the same as a Redis with `requirepass`.

use std::time::{Duration, Instant};

use super::differential::{Step, script};
use super::redis_server::RedisServer;
use super::wire::{Wire, command, show, show_codes, words};
use super::{DEADLINE, Embedded};

const PASSWORD: &str = "correct-horse-battery";

async fn embedded() -> Embedded {
    Embedded::with_password(1000, 8 << 20, PASSWORD).await
}

/// Runs steps against both servers, and expects the same values and codes of errors. No client is
/// authenticated at first.
async fn compare(steps: &[Step]) {
    let embedded = embedded().await;
    let redis = RedisServer::start_with(&["--requirepass", PASSWORD]).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        ours.push(Wire::tcp(embedded.address).await);
        theirs.push(Wire::unix(&redis.socket()).await);
    }
    for (client, bytes) in steps {
        let ours = show_codes(&ours[*client].ask_unauthenticated(bytes).await);
        let theirs = show_codes(&theirs[*client].ask_unauthenticated(bytes).await);
        assert_eq!(ours, theirs, "{client}> {}", show(bytes));
    }
}

#[tokio::test]
async fn unauthenticated_client_may_only_authenticate() {
    compare(&script(
        "0 PING
         0 PING hello
         0 ECHO hello
         0 ECHO
         0 PUBLISH a b
         0 PUBLISH a
         0 SUBSCRIBE a
         0 PSUBSCRIBE *
         0 UNSUBSCRIBE
         0 XADD k * data x
         0 XRANGE k - +
         0 DEL k
         0 MULTI
         0 DISCARD
         0 SELECT 0
         0 CLIENT SETNAME x
         0 CLIENT NONSENSE
         0 INFO
         0 SCRIPT LOAD x
         0 HELLO
         0 HELLO 3
         0 HELLO 4
         0 HELLO 3 SETNAME x
         0 QUIT",
    ))
    .await;
}

#[tokio::test]
async fn it_lets_in_and_nothing_else_does() {
    compare(&script(&format!(
        "0 AUTH
         0 AUTH wrong
         0 AUTH {PASSWORD}x
         0 AUTH default wrong
         0 AUTH other {PASSWORD}
         0 AUTH a b c
         0 PING
         0 AUTH {PASSWORD}
         0 PING
         0 AUTH wrong
         0 PING
         0 ECHO hello
         1 AUTH default {PASSWORD}
         0 PUBLISH a hello
         2 HELLO 2 AUTH default wrong
         2 PING
         2 HELLO 2 AUTH other {PASSWORD}
         2 HELLO 4 AUTH default {PASSWORD}
         2 PING
         2 HELLO 2 AUTH default {PASSWORD} NONSENSE
         2 PING",
    )))
    .await;
}

#[tokio::test]
async fn hello_with_the_password_authenticates() {
    let embedded = embedded().await;
    let mut wire = Wire::tcp(embedded.address).await;
    let hello = show(&wire.ask(&words(&format!("HELLO 3 AUTH default {PASSWORD} SETNAME me"))).await);
    assert!(hello.starts_with("%7 $6 server $5 redis "), "{hello}");
}

#[tokio::test]
async fn large_command_without_password_closes_as_in_redis() {
    let embedded = embedded().await;
    let redis = RedisServer::start_with(&["--requirepass", PASSWORD]).await;
    let auth = words(&format!("AUTH {PASSWORD}"));
    let large = command(&[b"ECHO", &vec![b'x'; 16_385][..]]);
    for bytes in [b"*11\r\n".to_vec(), b"*2\r\n$4\r\nECHO\r\n$16385\r\n".to_vec()] {
        for mut wire in [Wire::tcp(embedded.address).await, Wire::unix(&redis.socket()).await] {
            wire.send(&bytes).await;
            let answer = show(&wire.read_to_end().await);
            assert!(answer.starts_with("-ERR Protocol error: "), "{answer}");
        }
    }
    // The bounds end with the password, also for the bytes behind it.
    for mut wire in [Wire::tcp(embedded.address).await, Wire::unix(&redis.socket()).await] {
        let answer = wire.ask(&[&auth[..], &large].concat()).await;
        assert!(answer.starts_with(b"+OK\r\n$16385\r\nxxx"), "{}", show(&answer[..20]));
    }
}

#[tokio::test]
async fn unauthenticated_client_that_reads_nothing_is_closed() {
    let embedded = embedded().await;
    let mut deaf = Wire::tcp(embedded.address).await;
    // Each gets a refusal. Bytes that do not fit into the sockets wait, at most 64 KiB.
    let commands = words("PING").repeat(1 << 10);
    let sending = async { while deaf.try_send(&commands).await {} };
    tokio::time::timeout(DEADLINE * 2, sending).await.expect("never cut");
    Wire::tcp(embedded.address).await.ask_until(&words(&format!("AUTH {PASSWORD}")), b"+OK\r\n").await;
}

#[tokio::test]
async fn client_without_password_in_time_is_closed() {
    const LOGIN_TIME: Duration = Duration::from_secs(10);
    let embedded = embedded().await;
    let mut silent = Wire::tcp(embedded.address).await;
    let mut busy = Wire::tcp(embedded.address).await;
    let mut known = Wire::tcp(embedded.address).await;
    known.ask_until(&words(&format!("AUTH {PASSWORD}")), b"+OK\r\n").await;
    let began = Instant::now();
    let asking = async {
        while busy.ask_unauthenticated(b"").await.ends_with(b"\r\n") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (rest, ()) = tokio::join!(silent.read_to_end(), asking);
    assert_eq!(show(&rest), "");
    let elapsed = began.elapsed();
    assert!((LOGIN_TIME / 2..LOGIN_TIME * 2).contains(&elapsed), "{elapsed:?}");
    assert!(show(&known.ask(b"").await).starts_with("$11 mark-"), "who is let in stays");
}

#[tokio::test]
async fn connections_without_it_hold_no_places() {
    const CLIENTS: usize = 16;
    let embedded = Embedded::with_password(CLIENTS, 8 << 20, PASSWORD).await;
    let auth = words(&format!("AUTH {PASSWORD}"));
    let mut known = Wire::tcp(embedded.address).await;
    known.ask(&auth).await;
    let mut silent = Vec::new();
    for _ in 0..4 * CLIENTS {
        silent.push(Wire::tcp(embedded.address).await);
    }
    // Others connect at once, and authenticated clients remain.
    let mut others = Vec::new();
    for _ in 0..CLIENTS - CLIENTS / 4 - 1 {
        let mut other = Wire::tcp(embedded.address).await;
        assert!(other.ask(&auth).await.starts_with(b"+OK\r\n"));
        others.push(other);
    }
    assert!(known.ask(b"").await.starts_with(b"$11\r\nmark-"));
    // The oldest of the silent ones lost its place, though its ten seconds are not over.
    assert_eq!(show(&silent[0].read_to_end().await), "");
}
