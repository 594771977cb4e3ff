//! Clients that take their time: each is closed, however many there are.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{MIB, Observer};
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually};

const HEAD: &str = "POST /api/workspaces/acme/events HTTP/1.1\r\nHost: localhost\r\n";

async fn broker() -> Broker {
    let options = BrokerOptions::embedded().set("server.header_timeout_seconds", 1);
    Broker::start(options.set("server.body_timeout_seconds", 1)).await
}

/// Sends a beginning, then pieces with pauses until the broker has had enough; returns what it
/// said.
async fn trickle(address: SocketAddr, begin: &str, piece: &str, pause: Duration) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    let mut answer = Vec::new();
    let talking = async {
        let (mut input, mut output) = stream.split();
        let reading = input.read_to_end(&mut answer);
        let writing = async {
            let _ = output.write_all(begin.as_bytes()).await;
            while output.write_all(piece.as_bytes()).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
            // A write that fails and a response that was read come in any order.
            tokio::time::sleep(DEADLINE).await;
        };
        tokio::select! { _ = reading => {}, () = writing => panic!("never cut") }
    };
    tokio::time::timeout(DEADLINE, talking).await.expect("cut in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_heads_and_bodies_and_endless_headers_are_closed() {
    const EACH: usize = 100;
    let broker = broker().await;
    let observer = Observer::start(&broker).await;
    let slow = Duration::from_millis(100);
    let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
    let sized = format!("{HEAD}Content-Length: 1000\r\n\r\n");
    let attacks = [
        (HEAD, "x", slow, ""),
        ("", "G", slow, ""),
        (HEAD, "X-Again: y\r\n", slow, ""),
        // As fast as it goes, without end.
        (HEAD, "X-Again: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", Duration::ZERO, " 431 "),
        (&sized, "x", slow, " 408 "),
        (&chunked, "1\r\nx\r\n", slow, " 408 "),
    ];
    let address = broker.address();
    let all = attacks.into_iter().flat_map(|(begin, piece, pause, expected)| {
        (0..EACH).map(move |_| async move {
            let answer = trickle(address, begin, piece, pause).await;
            // A reset may overtake the response where bytes are still on their way.
            assert!(answer.is_empty() || answer.contains(expected), "{begin:?}{piece:?}: {answer}");
            !answer.is_empty()
        })
    });
    let answered = join_all(all).await;
    let bodies = &answered[4 * EACH..];
    assert!(bodies.iter().filter(|answered| **answered).count() > EACH, "slow bodies are told so");
    observer.finish(&broker, 64 * MIB).await;
}

#[tokio::test]
async fn client_that_closes_its_half_is_gone() {
    let broker = broker().await;
    let observer = Observer::start(&broker).await;
    let stream_head =
        "GET /api/workspaces/acme/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let halves = [
        "",
        "GET / HT",
        HEAD,
        stream_head,
        "POST /api/workspaces/acme/events HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
    ];
    for _ in 0..20 {
        for half in halves {
            let mut stream = TcpStream::connect(broker.address()).await.expect("connect");
            stream.write_all(half.as_bytes()).await.expect("send");
            stream.shutdown().await.expect("close one half");
            let mut answer = Vec::new();
            let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
            let _ = read.unwrap_or_else(|_| panic!("still open after {half:?}"));
        }
    }
    // One stays: the observer.
    eventually("they are gone", DEADLINE, async || broker.status().await["subscribers"] == 1).await;
    observer.finish(&broker, 32 * MIB).await;
}
