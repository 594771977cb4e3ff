//! Bounds on connections: a client beyond one retries later, and no connected client is closed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::support::raw::{RawConnection, head};
use crate::support::{
    Broker, BrokerOptions, Connect, DEADLINE, End, EventSource, SseClient, eventually, http,
};

const TARGET: &str = "/api/workspaces/acme/events";

async fn full_broker(options: BrokerOptions, connections: usize) -> (Broker, Vec<SseClient>) {
    let broker = Broker::start_ready(options).await;
    let mut inside = Vec::new();
    for _ in 0..connections {
        let mut client = broker.connect("acme").await;
        client.connected().await;
        inside.push(client);
    }
    (broker, inside)
}

async fn refusals(broker: &Broker, reason: &str) -> f64 {
    broker.metric(&format!("tidings_refusals_total{{reason=\"{reason}\"}}")).await.unwrap_or(0.0)
}

/// An EventSource beyond the limit reconnects, and gets its stream when one has ended.
#[tokio::test]
async fn event_source_beyond_the_bound_connects_later() {
    let options = BrokerOptions::embedded().set("limits.connections", 3).set("sse.retry_ms", 200);
    let (broker, mut inside) = full_broker(options, 3).await;
    let mut source = EventSource::open(broker.address(), "acme", Connect::default());
    for _ in 0..2 {
        let refusal = source.wait_for(DEADLINE, |event| event.kind == "tidings.reconnect").await;
        assert_eq!(refusal.json()["reason"], "overloaded");
    }
    assert_eq!(source.closed(), None);
    assert!(refusals(&broker, "connections").await >= 2.0);
    assert!(inside.iter().all(|client| client.end().is_none()), "nobody inside was put out");
    // One place for it, and one for the publisher.
    inside.truncate(1);
    source.connected().await;
    broker.publish("acme", "for all").await;
    source.wait_for(DEADLINE, |event| event.data == "for all").await;
}

#[tokio::test]
async fn tool_beyond_the_bound_gets_a_status() {
    let options = BrokerOptions::embedded().set("limits.connections", 1);
    let (broker, inside) = full_broker(options, 1).await;
    for (method, target) in [("GET", TARGET), ("GET", &format!("{TARGET}?errors=http")), ("POST", TARGET)] {
        let mut connection = RawConnection::open(broker.address()).await;
        let headers: &[_] = if method == "POST" { &[("Content-Length", "1")] } else { &[] };
        let answer = connection.exchange(head(method, target, headers)).await;
        assert_eq!(answer.status, 503, "{method} {target}");
        assert_eq!(answer.json()["type"], "urn:tidings:problem:unavailable");
        assert!(["2", "3"].contains(&answer.header("retry-after")), "{}", answer.header("retry-after"));
        assert_eq!(answer.header("connection"), "close");
        connection.closed(DEADLINE).await;
    }
    let mut refused = broker.connect("acme").await;
    assert_eq!(refused.status(), 200);
    assert_eq!(refused.wait_end(DEADLINE).await, End::Clean);
    assert_eq!(inside[0].end(), None);
}

#[tokio::test]
async fn the_reserve_is_not_to_be_sat_upon() {
    let options = BrokerOptions::embedded().set("limits.connections", 1);
    let (broker, inside) = full_broker(options, 1).await;
    // More than the reserve holds, and none of them says a word.
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(RawConnection::open(broker.address()).await);
    }
    let mut late = SseClient::connect(broker.address(), "acme", Connect::default()).await;
    assert_eq!(late.event_named("tidings.reconnect").await.json()["reason"], "overloaded");
    assert_eq!(inside[0].end(), None);
    drop(silent);
}

/// Opens a stream from a chosen loopback address; returns its bytes until the end or the
/// `connected` event.
async fn stream_from(source: Ipv4Addr, broker: &Broker) -> (tokio::net::TcpStream, String) {
    stream_for("unknown", source, broker).await
}

/// Opens a stream on behalf of a client.
async fn stream_for(client: &str, source: Ipv4Addr, broker: &Broker) -> (tokio::net::TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    let mut stream = socket.connect(broker.address()).await.unwrap();
    let headers = [("Accept", "text/event-stream"), ("X-Forwarded-For", client)];
    stream.write_all(head("GET", TARGET, &headers).as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while !text(&bytes).contains("\"connected\"") && !text(&bytes).contains("\"overloaded\"") {
        let read =
            tokio::time::timeout(DEADLINE, stream.read_buf(&mut bytes)).await.expect("in time").unwrap();
        if read == 0 {
            break;
        }
    }
    (stream, text(&bytes))
}

#[tokio::test]
async fn one_address_cannot_take_everything() {
    let options = BrokerOptions::embedded()
        .set("limits.connections_per_address", 2)
        .set("server.trusted_proxies", "127.0.0.9")
        .set("auth.mode", "none");
    let broker = Broker::start_ready(options).await;
    let one = Ipv4Addr::new(127, 0, 0, 5);
    let mut open = Vec::new();
    for source in [one, one, Ipv4Addr::new(127, 0, 0, 6)] {
        let (stream, text) = stream_from(source, &broker).await;
        assert!(text.contains("\"connected\""), "{text}");
        open.push(stream);
    }
    let (_, text) = stream_from(one, &broker).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("\"overloaded\""), "{text}");
    assert_eq!(refusals(&broker, "connections-per-address").await, 1.0);
    for _ in 0..4 {
        let (stream, text) = stream_from(Ipv4Addr::new(127, 0, 0, 9), &broker).await;
        assert!(text.contains("\"connected\""), "a trusted proxy brings many: {text}");
        open.push(stream);
    }
    drop(open);
    eventually("who left is not counted", DEADLINE, async || {
        stream_from(one, &broker).await.1.contains("\"connected\"")
    })
    .await;
}

#[tokio::test]
async fn clients_of_a_trusted_proxy_are_counted_by_their_streams() {
    let options = BrokerOptions::embedded()
        .set("limits.connections_per_address", 2)
        .set("server.trusted_proxies", "127.0.0.9")
        .set("auth.mode", "none");
    let broker = Broker::start_ready(options).await;
    let proxy = Ipv4Addr::new(127, 0, 0, 9);
    let (one, other) = ("2001:db8::1", "6.6.6.6, 2001:db8:0:1::1");
    let mut open = Vec::new();
    for (client, expected) in [
        (one, "connected"),
        ("2001:db8::2", "connected"),
        (one, "overloaded"),
        (other, "connected"),
        ("2001:db8:0:1::1", "connected"),
        (other, "overloaded"),
    ] {
        let (stream, text) = stream_for(client, proxy, &broker).await;
        assert!(text.starts_with("HTTP/1.1 200") && text.contains(expected), "{client}: {text}");
        open.push(stream);
    }
    assert_eq!(refusals(&broker, "connections-per-address").await, 2.0);
    open.truncate(1);
    eventually("who left is not counted", DEADLINE, async || {
        stream_for(one, proxy, &broker).await.1.contains("\"connected\"")
    })
    .await;
}

#[tokio::test]
async fn rush_of_clients_is_accepted_bit_by_bit() {
    let options = BrokerOptions::embedded().set("limits.connects_per_second", 5).set("sse.retry_ms", 300);
    let broker = Broker::start_ready(options).await;
    let mut rush: Vec<_> =
        (0..15).map(|_| EventSource::open(broker.address(), "acme", Connect::default())).collect();
    for source in &mut rush {
        source.wait_for(Duration::from_secs(30), crate::support::Event::is_connected).await;
    }
    assert!(refusals(&broker, "connects-per-second").await >= 5.0);
    assert!(rush.iter().all(|source| source.closed().is_none()));
}

#[tokio::test]
async fn the_operations_listener_has_places_of_its_own() {
    let options = BrokerOptions::embedded().set("limits.connections", 1);
    let (broker, _inside) = full_broker(options, 1).await;
    for _ in 0..10 {
        assert_eq!(http::get(broker.admin(), "/live").await.status, 200);
    }
}
