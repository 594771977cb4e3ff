//! The clients against canned responses: a fault in them would let other tests pass.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Connect, End, EventSource, SseClient};
use crate::{DEADLINE, eventually};

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
    eventually("it gives up", DEADLINE, async || source.closed().is_some()).await;
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
    eventually("it has come", DEADLINE, async || client.end().is_some()).await;
}

#[tokio::test]
#[should_panic(expected = r#"a block without data: ["retry: 10"]"#)]
async fn block_without_data_fails_a_test_of_event_source() {
    let (address, _task) = canned(vec![FAULTY]).await;
    EventSource::open(address, "demo", Connect::default())
        .wait_for(DEADLINE, |event| event.data == "b")
        .await;
}
