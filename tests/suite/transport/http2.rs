//! HTTP/2 with prior knowledge, by a library's client and by clients that mean no good.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::support::http2_frames::{DATA, FrameConnection, GOAWAY, PING, RST_STREAM, SETTINGS, frame};
use crate::support::raw::RawConnection;
use crate::support::redis_server::connect;
use crate::support::sse::check_blocks;
use crate::support::token::{JWT, bearer, token};
use crate::support::{Broker, BrokerOptions, DEADLINE, SseClient, eventually};

/// A connection of hyper's client, until it goes out of scope.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    _driver: AbortOnDropHandle<hyper::Result<()>>,
}

impl Client {
    async fn connect(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.address()).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let authority = broker.address().to_string();
        Self { sender, authority, _driver: AbortOnDropHandle::new(tokio::spawn(connection)) }
    }

    async fn send(
        &self,
        method: &str,
        authority: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> http::Response<Incoming> {
        let mut request =
            Request::builder().method(method).uri(format!("http://{authority}/api/workspaces/acme/events"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.sender.clone().send_request(request.body(Full::from(body)).unwrap());
        tokio::time::timeout(DEADLINE, answer).await.expect("an answer in time").unwrap()
    }

    async fn stream(&self) -> Incoming {
        let answer = self.send("GET", &self.authority, &[("accept", "text/event-stream")], "").await;
        assert_eq!((answer.status(), answer.version()), (http::StatusCode::OK, http::Version::HTTP_2));
        answer.into_body()
    }
}

/// Reads a body until it holds a text. Fails the test when it does not come.
async fn read_until(body: &mut Incoming, wanted: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(wanted) {
            let frame = body.frame().await.expect("more of the body").expect("a body that is not cut");
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    };
    if tokio::time::timeout(DEADLINE, reading).await.is_err() {
        panic!("{wanted:?} did not come, but {text:?}");
    }
    check_blocks(&text);
    text
}

async fn is_served(broker: &Broker, reader: &mut SseClient, payload: &str) {
    broker.publish("acme", payload).await;
    reader.wait_for(DEADLINE, |event| event.data == payload).await;
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let client = Client::connect(&broker).await;
    let mut streams = Vec::new();
    for _ in 0..60 {
        let mut body = client.stream().await;
        read_until(&mut body, "\"connected\"").await;
        streams.push(body);
    }
    assert_eq!(broker.status().await["subscribers"], 60);
    assert_eq!(broker.status().await["connections"], 1);
    let published = client.send("POST", &client.authority, &[], "over the same").await;
    assert_eq!(published.status(), 200);
    for body in &mut streams {
        read_until(body, "data: over the same\n").await;
    }
    streams.truncate(10);
    eventually("the others left", DEADLINE, async || broker.status().await["subscribers"] == 10).await;
}

#[tokio::test]
async fn authority_is_one_well_formed_host() {
    let broker = Broker::start_ready(BrokerOptions::embedded().set("auth.mode", "none")).await;
    let client = Client::connect(&broker).await;
    for (authority, headers) in [
        ("evil.example@localhost", &[][..]),
        ("localhost@evil.example", &[]),
        ("localhost", &[("host", "evil.example")]),
        ("localhost", &[("host", "localhost"), ("host", "localhost")]),
    ] {
        let answer = client.send("POST", authority, headers, "x").await;
        assert_eq!(answer.status(), 400, "{authority} {headers:?}");
    }
    assert_eq!(client.send("POST", "localhost", &[("host", "localhost")], "x").await.status(), 200);
}

#[tokio::test]
async fn host_and_origin_are_checked_by_the_authority() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let client = Client::connect(&broker).await;
    let own = format!("http://{}", client.authority);
    let authority = client.authority.as_str();
    for (authority, origin, expected) in [
        (authority, own.as_str(), 200),
        (authority, "http://evil.example", 403),
        ("evil.example", "http://evil.example", 421),
    ] {
        let answer = client.send("POST", authority, &[("origin", origin)], "x").await;
        assert_eq!(answer.status(), expected, "{authority} {origin}");
    }
}

#[tokio::test]
async fn a_drain_ends_the_streams_and_takes_leave() {
    let options =
        BrokerOptions::embedded().set("server.drain_delay_seconds", 0).set("server.drain_seconds", 0.2);
    let mut broker = Broker::start_ready(options).await;
    let client = Client::connect(&broker).await;
    let mut body = client.stream().await;
    read_until(&mut body, "\"connected\"").await;
    let mut frames = FrameConnection::open(broker.address(), &[]).await;
    let request = frames.get(1, "acme");
    assert!(frames.send(&request).await);
    eventually("both are there", DEADLINE, async || broker.status().await["subscribers"] == 2).await;
    broker.signal(Signal::SIGTERM);
    read_until(&mut body, "\"draining\"").await;
    let ended = tokio::time::timeout(DEADLINE, body.frame()).await.expect("the end of the stream");
    assert!(ended.is_none_or(|frame| frame.is_ok_and(|frame| frame.data_ref().is_some_and(Bytes::is_empty))));
    assert!(frames.closed(DEADLINE).await.contains(&GOAWAY));
    drop(client);
    assert_eq!(broker.ended(DEADLINE).await.code(), Some(0));
}

/// A node closes a connection that floods it with cancelled requests; others continue.
#[tokio::test]
async fn client_that_begins_and_cancels_streams_is_closed() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let mut reader = broker.connect("acme").await;
    reader.connected().await;
    let before = broker.memory_bytes();
    for _ in 0..3 {
        let mut flood = FrameConnection::open(broker.address(), &[]).await;
        let cancel = 8_u32.to_be_bytes();
        let mut sent = 0;
        while sent < 20_000 {
            let stream = sent * 2 + 1;
            let both = [flood.get(stream, "flooded"), frame(RST_STREAM, 0, stream, &cancel)].concat();
            if !flood.send(&both).await {
                break;
            }
            sent += 1;
            if sent % 500 == 0 {
                is_served(&broker, &mut reader, &format!("after {sent}")).await;
            }
        }
        assert!(sent < 20_000, "all of the flood was taken");
    }
    is_served(&broker, &mut reader, "after the floods").await;
    eventually("only the reader is left", DEADLINE, async || broker.status().await["connections"] == 1).await;
    assert!(broker.memory_bytes() < before + 16 * 1024 * 1024);
}

#[tokio::test]
async fn floods_of_control_frames_harm_no_other_client() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let mut reader = broker.connect("acme").await;
    reader.connected().await;
    let before = broker.memory_bytes();
    for (kind, payload) in [(PING, &[7; 8][..]), (SETTINGS, &[])] {
        let mut flood = FrameConnection::open(broker.address(), &[]).await;
        let frames = frame(kind, 0, 0, payload).repeat(1000);
        // It reads none of the responses: at some point the broker does not read on either, or ends
        // it.
        for round in 0..200 {
            let sending = tokio::time::timeout(Duration::from_millis(200), flood.send(&frames)).await;
            if !matches!(sending, Ok(true)) {
                break;
            }
            if round % 50 == 0 {
                is_served(&broker, &mut reader, &format!("{kind} {round}")).await;
            }
        }
        is_served(&broker, &mut reader, &format!("after {kind}")).await;
    }
    assert!(broker.memory_bytes() < before + 16 * 1024 * 1024);
}

#[tokio::test]
async fn endless_head_is_closed() {
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let before = broker.memory_bytes();
    let mut endless = FrameConnection::open(broker.address(), &[]).await;
    // `x: y`, spelled out, again and again, and never the flag that ends the head.
    let fields = [0, 1, b'x', 1, b'y'].repeat(3000);
    assert!(endless.send(&frame(HEADERS, 0, 1, &fields)).await);
    let mut sent = 0;
    while endless.send(&frame(CONTINUATION, 0, 1, &fields)).await {
        sent += 1;
        assert!(sent < 2000, "30 MB of head were taken");
    }
    assert!(broker.memory_bytes() < before + 16 * 1024 * 1024);
    eventually("it is cut", DEADLINE, async || broker.status().await["connections"] == 0).await;
}

/// As over HTTP/1.1. The client's library adds nothing, so these are all.
#[tokio::test]
async fn a_head_of_more_than_100_fields_is_refused() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let client = Client::connect(&broker).await;
    for (fields, status) in [(101, 431), (1500, 431), (100, 200)] {
        let headers = vec![("x", "y"); fields];
        let answer = client.send("GET", &client.authority, &headers, "").await;
        assert_eq!(answer.status(), status, "{fields} fields");
    }
}

#[tokio::test]
async fn connection_beyond_the_bound_gets_overloaded_and_closes() {
    let broker = Broker::start_ready(BrokerOptions::embedded().set("limits.connections", 1)).await;
    let mut inside = broker.connect("acme").await;
    inside.connected().await;
    let client = Client::connect(&broker).await;
    let mut body = client.stream().await;
    read_until(&mut body, "\"overloaded\"").await;
    eventually("it is closed", DEADLINE, async || broker.status().await["connections"] == 1).await;
    assert_eq!(inside.end(), None);
}

/// A node closes an HTTP/2 connection whose peer opens no window, also if it replies to pings.
#[tokio::test]
async fn peer_without_window_is_closed() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let options = BrokerOptions::embedded()
        .set("server.write_timeout_seconds", 1)
        .set("sse.heartbeat_seconds", 1)
        .set("http2.ping_seconds", 0.2);
    let broker = Broker::start_ready(options).await;
    let mut reader = broker.connect("acme").await;
    reader.connected().await;
    let mut greedy = FrameConnection::open(broker.address(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let request = greedy.get(1, "acme");
    let begun = Instant::now();
    assert!(greedy.send(&request).await);
    let kinds = greedy.closed(DEADLINE).await;
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(kinds.contains(&PING) && !kinds.contains(&DATA), "{kinds:?}");
    eventually("it is gone", DEADLINE, async || broker.status().await["subscribers"] == 1).await;
    let line = || broker.log().lines().any(|line| line.contains("why=\"takes no bytes"));
    eventually("the log says why", DEADLINE, async || line()).await;
    // One that takes its heartbeats stays, though little happens.
    let client = Client::connect(&broker).await;
    let mut body = client.stream().await;
    for _ in 0..4 {
        read_until(&mut body, "tidings.heartbeat").await;
    }
    is_served(&broker, &mut reader, "still here").await;
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_given_up() {
    let options =
        BrokerOptions::embedded().set("http2.ping_seconds", 0.3).set("http2.ping_timeout_seconds", 0.3);
    let broker = Broker::start_ready(options).await;
    let mut silent = FrameConnection::open(broker.address(), &[]).await;
    let request = silent.get(1, "acme");
    assert!(silent.send(&request).await);
    eventually("it is there", DEADLINE, async || broker.status().await["subscribers"] == 1).await;
    eventually("it is given up", DEADLINE, async || broker.status().await["connections"] == 0).await;
    assert_eq!(broker.status().await["subscribers"], 0);
    drop(silent);
}

#[tokio::test]
async fn connections_without_business_are_closed() {
    let options =
        BrokerOptions::embedded().set("http2.idle_seconds", 0.5).set("server.header_timeout_seconds", 0.5);
    let broker = Broker::start_ready(options).await;
    // Half a preface, a whole one and nothing more, and one that was of use.
    let mut half = RawConnection::open(broker.address()).await;
    half.send("PRI * HTTP/2.0\r\n\r\nSM").await;
    assert_eq!(half.closed(DEADLINE).await, b"");
    let mut whole = FrameConnection::open(broker.address(), &[]).await;
    whole.closed(DEADLINE).await;
    let client = Client::connect(&broker).await;
    let mut body = client.stream().await;
    read_until(&mut body, "\"connected\"").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    is_still_open(&broker).await;
    drop(body);
    eventually("it is closed", DEADLINE, async || broker.status().await["connections"] == 0).await;
    assert!(client.sender.is_closed());
}

async fn is_still_open(broker: &Broker) {
    assert_eq!(broker.status().await["connections"], 1, "a stream keeps its connection");
}

#[tokio::test]
async fn bounds_on_connections_hold_for_streams_of_one_connection() {
    for (key, most) in [("limits.connections_per_address", 2), ("limits.connections", 3)] {
        let broker = Broker::start_ready(BrokerOptions::embedded().set(key, most)).await;
        let client = Client::connect(&broker).await;
        let mut inside = Vec::new();
        for _ in 0..most {
            let mut body = client.stream().await;
            read_until(&mut body, "connected").await;
            inside.push(body);
        }
        let mut outside = client.stream().await;
        read_until(&mut outside, r#""reason":"overloaded""#).await;
        inside.pop();
        eventually("there is room again", DEADLINE, async || {
            let mut body = client.stream().await;
            let first = body.frame().await.unwrap().unwrap();
            let second = body.frame().await;
            let both = [Some(Ok(first)), second].into_iter().flatten().flatten();
            both.filter_map(|frame| frame.into_data().ok())
                .any(|data| data.windows(9).any(|word| word == b"connected"))
        })
        .await;
    }
}

#[tokio::test]
async fn a_stream_ends_by_an_order_and_with_its_token() {
    let options = JWT.iter().fold(BrokerOptions::embedded(), |options, (key, value)| options.set(key, value));
    let broker = Broker::start_ready(options).await;
    let client = Client::connect(&broker).await;
    let open = async |token: String| {
        let headers = [("accept", "text/event-stream"), ("authorization", &bearer(&token))];
        let mut body = client.send("GET", &client.authority, &headers, "").await.into_body();
        read_until(&mut body, "connected").await;
        body
    };
    let mut kicked = open(token("ann", &["acme"], 60, &json!({}))).await;
    let mut expiring = open(token("ben", &["acme"], 4, &json!({}))).await;
    let bus = redis::Client::open(format!("redis://{}", broker.embedded())).unwrap();
    let mut publish = redis::cmd("PUBLISH");
    publish.arg("tidings:control").arg(r#"{"disconnect":{"user":"ann"}}"#);
    let heard: u64 = publish.query_async(&mut connect(&bus).await.unwrap()).await.unwrap();
    assert_eq!(heard, 1);
    read_until(&mut kicked, r#""reason":"disconnected""#).await;
    read_until(&mut expiring, r#""reason":"expired""#).await;
    for body in [kicked, expiring] {
        assert!(body.collect().await.expect("a clean end").to_bytes().is_empty());
    }
}
