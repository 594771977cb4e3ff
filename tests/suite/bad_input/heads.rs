//! Heads that are too large, too slow, or none.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::check_problem;
use crate::support::raw::{RawConnection, head};
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually};

const TARGET: &str = "/api/workspaces/acme/events";

/// Whether a broker serves, and has nothing left of earlier connections.
async fn check_sound(broker: &Broker) {
    eventually("the connections are gone", DEADLINE, async || broker.status().await["connections"] == 0)
        .await;
    let client = broker.connect("acme").await;
    assert_eq!(client.status(), 200);
    assert!(!broker.log().contains("panicked"), "{}", broker.log());
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let broker = Broker::start(BrokerOptions::embedded().set("server.header_bytes", 4096)).await;
    let open = async || RawConnection::open(broker.address()).await;
    let cookie = |bytes: usize| head("PUT", TARGET, &[("Cookie", &"x".repeat(bytes))]);
    // To the byte: 4096 is what is accepted.
    let room = 4096 - cookie(0).len();
    assert_eq!(open().await.exchange(cookie(room)).await.status, 405);
    check_problem(&open().await.exchange(cookie(room + 1)).await, 431, "head-too-large");
    check_problem(&open().await.exchange(cookie(50_000)).await, 431, "head-too-large");
    let query = head("GET", &format!("{TARGET}?x={}", "x".repeat(5000)), &[]);
    check_problem(&open().await.exchange(query).await, 431, "head-too-large");
    let many = (0..90).map(|n| (format!("X-Header-{n}"), "x".repeat(60))).collect::<Vec<_>>();
    let many: Vec<_> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    check_problem(&open().await.exchange(head("GET", TARGET, &many)).await, 431, "head-too-large");

    // A head above the last bound gets a status without advice.
    assert_eq!(open().await.exchange(cookie(500_000)).await.status, 431);
    let fields = "a: b\r\n".repeat(200);
    let too_many = format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    assert_eq!(open().await.exchange(too_many).await.status, 431);
    let query = head("GET", &format!("{TARGET}?x={}", "x".repeat(70_000)), &[]);
    let status = open().await.exchange(query).await.status;
    assert!(status == 414 || status == 431, "{status}");
    check_sound(&broker).await;
}

#[tokio::test]
async fn a_head_that_does_not_arrive_is_not_waited_for() {
    const TIMEOUT: Duration = Duration::from_millis(400);
    const DEFAULT: Duration = Duration::from_secs(10);
    let broker = Broker::start(BrokerOptions::embedded().set("server.header_timeout_seconds", 0.4)).await;
    let cut = async |address: SocketAddr, begin: &str| {
        // The time begins when the connection is accepted.
        let began = Instant::now();
        let mut connection = RawConnection::open(address).await;
        connection.send(begin).await;
        connection.closed(DEADLINE).await;
        assert!(began.elapsed() >= TIMEOUT, "{begin:?} after {:?}", began.elapsed());
        assert!(began.elapsed() < DEFAULT, "{begin:?} after {:?}", began.elapsed());
    };
    for address in [broker.address(), broker.admin()] {
        tokio::join!(
            cut(address, ""),
            cut(address, "G"),
            cut(address, "GET /api/workspaces/acme/events HTTP/1.1\r\n"),
            cut(address, "GET / HTTP/1.1\r\nHost: a\r\nX-Unfinished: "),
        );
    }
    check_sound(&broker).await;
}

#[tokio::test]
async fn trickling_head_is_closed() {
    let broker = Broker::start(BrokerOptions::embedded().set("server.header_timeout_seconds", 0.4)).await;
    let mut connection = RawConnection::open(broker.address()).await;
    connection.send(format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\n")).await;
    let trickle = async {
        for _ in 0..150 {
            connection.send("X: y\r\n").await;
            // Far more often than the timeout, which is for the whole head and does not begin
            // again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            if broker.status().await["connections"] == 0 {
                return;
            }
        }
        panic!("not closed before the default of ten seconds");
    };
    trickle.await;
    check_sound(&broker).await;
}

#[tokio::test]
async fn a_second_request_on_a_connection_has_its_time_too() {
    let broker = Broker::start(BrokerOptions::embedded().set("server.header_timeout_seconds", 0.4)).await;
    let mut connection = RawConnection::open(broker.address()).await;
    for _ in 0..3 {
        assert_eq!(connection.exchange(head("PUT", TARGET, &[])).await.status, 405);
    }
    connection.send("GET / HTTP/1.1\r\nHost: ").await;
    connection.closed(DEADLINE).await;
    check_sound(&broker).await;
}

#[tokio::test]
async fn bytes_that_are_not_http_close_the_connection() {
    let broker = Broker::start(BrokerOptions::embedded()).await;
    let no_http: &[&[u8]] = &[
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/workspaces/acme/events HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/workspaces/acme/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    ];
    for bytes in no_http {
        let mut connection = RawConnection::open(broker.address()).await;
        connection.send(bytes).await;
        let answer = connection.closed(DEADLINE).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{bytes:?}: {answer}");
    }
    check_sound(&broker).await;
}
