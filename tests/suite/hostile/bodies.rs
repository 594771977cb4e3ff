//! Bodies that are sent and never finished: they cost no more than is configured, and others
//! publish as before.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::{MIB, peak};
use crate::support::raw::head;
use crate::support::token::{JWT, bearer, token};
use crate::support::{Broker, BrokerOptions, DEADLINE};

const TARGET: &str = "/api/workspaces/acme/events?batch=1";

const BODY_BYTES: u64 = 32 * MIB;

/// What a body brings before its sender stops: nearly the most that a batch may have.
const SENT_BYTES: usize = 4_000_000;

/// How long others may take to publish an event.
const PATIENCE: Duration = Duration::from_secs(2);

async fn broker(timeout: Duration) -> Broker {
    let options = BrokerOptions::embedded()
        .set("limits.body_bytes", BODY_BYTES)
        .set("server.body_timeout_seconds", timeout.as_secs());
    Broker::start_ready(JWT.into_iter().fold(options, |options, (key, value)| options.set(key, value))).await
}

async fn connect(broker: &Broker, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((from, 0))).expect("an address of this machine");
    socket.connect(broker.address()).await.expect("connect")
}

/// Begins a body, with or without saying how long it is, and sends what the broker takes of it.
async fn begin_body(broker: &Broker, user: &str, from: [u8; 4], is_sized: bool) -> TcpStream {
    let mut stream = connect(broker, from).await;
    let authorization = bearer(&token(user, &["acme"], 600, &Value::Null));
    let length = if is_sized { ("Content-Length", "4194304") } else { ("Transfer-Encoding", "chunked") };
    let head = head("POST", TARGET, &[("Authorization", &authorization), length]);
    let begin = if is_sized { head } else { format!("{head}{SENT_BYTES:x}\r\n") };
    let bytes = [begin.as_bytes(), &vec![b'x'; SENT_BYTES]].concat();
    // A body beyond the bound remains on its way.
    let _ = timeout(Duration::from_secs(2), stream.write_all(&bytes)).await;
    stream
}

/// Publishes as another user, and returns how long that took.
async fn publish(broker: &Broker, user: &str, from: [u8; 4]) -> Duration {
    let began = Instant::now();
    let mut stream = connect(broker, from).await;
    let authorization = bearer(&token(user, &["acme"], 600, &Value::Null));
    let headers = [("Authorization", &*authorization), ("Content-Length", "8"), ("Connection", "close")];
    let request = head("POST", TARGET, &headers) + "an event";
    stream.write_all(request.as_bytes()).await.expect("send");
    let mut answer = String::new();
    let _ =
        timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("an answer").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    began.elapsed()
}

#[tokio::test]
async fn unfinished_bodies_of_one_user_are_bounded_and_others_publish() {
    const BODIES: usize = 150;
    let broker = broker(Duration::from_secs(600)).await;
    publish(&broker, "ann", [127, 0, 0, 1]).await;
    let before = peak(&broker);
    let all = (0..BODIES).map(|number| begin_body(&broker, "mallory", [127, 0, 0, 1], number % 2 == 0));
    let held = join_all(all).await;
    for _ in 0..10 {
        assert!(publish(&broker, "ann", [127, 0, 0, 1]).await < PATIENCE);
    }
    let added = peak(&broker).saturating_sub(before);
    assert!(added < BODY_BYTES + BODY_BYTES / 4, "{} MiB", added / MIB);
    drop(held);
}

#[tokio::test]
async fn unfinished_bodies_are_bounded_and_other_addresses_publish() {
    let broker = broker(Duration::from_secs(600)).await;
    publish(&broker, "ann", [127, 0, 0, 1]).await;
    let before = peak(&broker);
    let broker = &broker;
    let all = (0..120_u8).map(|number| async move {
        begin_body(broker, &format!("user-{number}"), [127, 0, 1, number % 5], true).await
    });
    let held = join_all(all).await;
    for _ in 0..10 {
        assert!(publish(broker, "ann", [127, 0, 0, 1]).await < PATIENCE);
    }
    let added = peak(broker).saturating_sub(before);
    assert!(added < BODY_BYTES + BODY_BYTES / 4, "{} MiB", added / MIB);
    drop(held);
}

#[tokio::test]
async fn body_beyond_the_bound_gets_retry_after() {
    let broker = broker(Duration::from_secs(3)).await;
    let mut held = join_all((0..4).map(|_| begin_body(&broker, "mallory", [127, 0, 0, 1], true))).await;
    let answers = join_all(held.iter_mut().map(|stream| async {
        let mut answer = Vec::new();
        // A reset may overtake the response where bytes are still on their way.
        let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end");
        String::from_utf8_lossy(&answer).into_owned()
    }))
    .await;
    let told = |status: &str| answers.iter().filter(|answer| answer.starts_with(status)).count();
    // One uses the bound of its user. When its time is up, so is that of the others, and the next
    // may be accepted.
    let refused = broker.metric("tidings_refusals_total{reason=\"body-bytes\"}").await;
    assert!(refused >= Some(2.0) && told("HTTP/1.1 408") >= 1, "{refused:?}, {answers:?}");
    assert!(
        answers.iter().filter(|answer| answer.contains("429")).all(|answer| answer.contains("retry-after:"))
    );
    publish(&broker, "mallory", [127, 0, 0, 1]).await;
}
