//! The harness itself, where a fault in it would make other tests pass.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::chaos::{ChaosProxy, Flow, Toward};
use crate::support::{Connect, DEADLINE, End, EventSource, RedisOptions, RedisServer, SseClient};

/// Sends the given bytes to one connection after the other, and returns the heads of the requests.
async fn canned(answers: Vec<&'static str>) -> (std::net::SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut heads = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            heads.push(head(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        heads
    });
    (address, task)
}

async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "cut within the head");
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn client_distinguishes_a_clean_end_from_a_cut() {
    const HEAD: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let ends = [
        ("9\r\ndata: a\n\n\r\n0\r\n\r\n", End::Clean),
        ("8\r\ndata: a\n\r\n0\r\n\r\n", End::WithinEvent),
        ("9\r\ndata: a\n\n\r\n", End::Aborted("the connection ended".to_owned())),
    ];
    for (body, expected) in ends {
        let (address, _task) = canned(vec![Box::leak(format!("{HEAD}{body}").into_boxed_str())]).await;
        let mut client = SseClient::connect(address, "demo", Connect::default()).await;
        assert_eq!(client.wait_end(DEADLINE).await, expected);
        assert_eq!(client.events().len(), usize::from(expected != End::WithinEvent));
    }
}

#[tokio::test]
async fn event_source_reconnects_with_its_position_until_a_final_rejection() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n";
    let first =
        Box::leak(format!("{HEAD}retry: 10\nid: 7-0\ndata: a\n\nid: 8-0\ndata\n\nid: 9").into_boxed_str());
    let second = Box::leak(format!("{HEAD}data: b\n\n").into_boxed_str());
    let (address, task) = canned(vec![first, second, "HTTP/1.1 204 No Content\r\n\r\n"]).await;
    let mut source = EventSource::open(address, "demo", Connect::query("named=1"));
    assert_eq!(source.wait_for(DEADLINE, |event| event.data == "a").await.id, "7-0");
    source.wait_for(DEADLINE, |event| event.data == "b").await;
    let heads = task.await.unwrap();
    assert!(heads[0].starts_with("GET /api/workspaces/demo/events?named=1 HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(!heads[0].contains("Last-Event-ID"));
    assert!(heads[1].contains("Last-Event-ID: 8-0\r\n"), "{}", heads[1]);
    crate::support::eventually("it gives up", DEADLINE, async || source.closed().is_some()).await;
    assert_eq!(source.opened(), 2);
}

const FAULTY: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 10\n\nid: 7-0\ndata: a\n\n";

#[tokio::test]
#[should_panic(expected = r#"a block without data: ["retry: 10"]"#)]
async fn a_block_without_data_fails_the_test_that_waits() {
    let (address, _task) = canned(vec![FAULTY]).await;
    SseClient::connect(address, "demo", Connect::default()).await.application_event().await;
}

#[tokio::test]
#[should_panic(expected = r#"a block without data: ["retry: 10"]"#)]
async fn block_without_data_fails_a_test_that_skipped_it() {
    let (address, _task) = canned(vec![FAULTY]).await;
    let client = SseClient::connect(address, "demo", Connect::default()).await;
    crate::support::eventually("it has come", DEADLINE, async || client.end().is_some()).await;
}

#[tokio::test]
#[should_panic(expected = r#"a block without data: ["retry: 10"]"#)]
async fn block_without_data_fails_a_test_of_event_source() {
    let (address, _task) = canned(vec![FAULTY]).await;
    EventSource::open(address, "demo", Connect::default())
        .wait_for(DEADLINE, |event| event.data == "b")
        .await;
}

#[tokio::test]
async fn a_redis_server_stops_restarts_and_freezes() {
    let users = vec!["broker on >secret ~workspace:* resetchannels &workspace:* +ping +publish".to_owned()];
    let options = RedisOptions { users, tls: true, append_only: true, ..RedisOptions::default() };
    let mut server = RedisServer::start_with(options).await;
    let broker = redis::Client::open(server.url_as("broker", "secret")).unwrap();
    let mut connection = broker.get_multiplexed_async_connection().await.unwrap();
    let receivers: i64 =
        redis::cmd("PUBLISH").arg("workspace:a").arg("x").query_async(&mut connection).await.unwrap();
    assert_eq!(receivers, 0);
    let refused = redis::cmd("PUBLISH").arg("other").arg("x").query_async::<i64>(&mut connection).await;
    assert!(refused.unwrap_err().to_string().to_lowercase().contains("noperm"));
    let (url, certificates) = server.tls_url();
    assert!(url.starts_with("rediss://localhost:") && certificates.authority.exists());

    server.command::<String>(&["SET", "kept", "1"]).await;
    server.stop();
    assert!(TcpStream::connect(("127.0.0.1", server.port())).await.is_err());
    server.restart().await;
    assert_eq!(server.command::<String>(&["GET", "kept"]).await, "1");

    server.freeze();
    let frozen = tokio::time::timeout(Duration::from_millis(200), server.info("server")).await;
    assert!(frozen.is_err());
    server.thaw();
    assert!(server.info("server").await.contains("redis_version"));
}

/// A server that sends back what it gets, behind a proxy, and a connection to it.
async fn echo_behind_a_proxy() -> (ChaosProxy, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = ChaosProxy::start(listener.local_addr().unwrap()).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = stream.split();
                tokio::io::copy(&mut reads, &mut writes).await
            });
        }
    });
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echoed(&mut stream, "a").await.as_deref(), Some("a"));
    (proxy, stream)
}

/// Sends a text and returns its echo within a while; `None` if the connection ended.
async fn echoed(stream: &mut TcpStream, text: &str) -> Option<String> {
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut buffer = [0; 100];
    match tokio::time::timeout(Duration::from_millis(400), stream.read(&mut buffer)).await {
        Ok(Ok(0) | Err(_)) => None,
        Ok(Ok(count)) => Some(String::from_utf8(buffer[..count].to_vec()).unwrap()),
        Err(_) => Some(String::new()),
    }
}

#[tokio::test]
async fn a_chaos_proxy_delays_and_keeps_the_order() {
    let (proxy, mut stream) = echo_behind_a_proxy().await;
    proxy.set(Toward::Client, Flow::Delay(Duration::from_millis(600)));
    assert_eq!(echoed(&mut stream, "b").await.unwrap(), "");
    assert_eq!(echoed(&mut stream, "c").await.unwrap(), "b");
    proxy.heal();
    assert_eq!(echoed(&mut stream, "d").await.unwrap().chars().next(), Some('c'));
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn chaos_proxy_swallows_a_direction_and_ends_its_connections() {
    for toward in [Toward::Server, Toward::Client] {
        let (proxy, mut stream) = echo_behind_a_proxy().await;
        proxy.set_open(toward, Flow::Swallow);
        assert_eq!(echoed(&mut stream, "b").await.unwrap(), "");
        // Connections that are made later work.
        let mut other = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(echoed(&mut other, "c").await.unwrap(), "c");
        proxy.heal();
        assert_eq!(echoed(&mut stream, "d").await, None);
        assert_eq!(echoed(&mut other, "e").await.unwrap(), "e");
        proxy.set(toward, Flow::Swallow);
        let mut other = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(echoed(&mut other, "f").await.unwrap(), "");
    }
}

#[tokio::test]
async fn chaos_proxy_closes_and_loses_the_tail() {
    let (proxy, mut stream) = echo_behind_a_proxy().await;
    let (cut, answer) =
        tokio::join!(proxy.close_losing_tail(Duration::from_millis(100)), echoed(&mut stream, "lost"));
    assert_eq!((cut, answer), ((), None));
    assert_eq!(proxy.connections(), 0);
}
