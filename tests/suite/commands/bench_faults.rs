//! `tidings bench` against a server that makes mistakes on purpose: what no broker here does has to
//! be found out too.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::support::commands::run_tidings;

const CONNECTED: &str = "data: {\"type\":\"connected\",\"workspaceId\":\"x\"}\n\n";

/// Streams of one workspace that share what is published.
#[derive(Default)]
struct Faulty {
    streams: Vec<UnboundedSender<String>>,
    published: usize,
    held: Option<String>,
}

impl Faulty {
    /// Sends an event to every client. The fifth is lost, the tenth is sent twice, and the
    /// fifteenth follows the next.
    fn publish(&mut self, payload: &str) {
        self.published += 1;
        let frame = format!("data: {payload}\n\n");
        let frames = match self.published {
            5 => Vec::new(),
            10 => vec![frame.clone(), frame],
            15 => {
                self.held = Some(frame);
                Vec::new()
            }
            _ => std::iter::once(frame).chain(self.held.take()).collect(),
        };
        for frame in frames {
            self.streams.retain(|stream| stream.send(frame.clone()).is_ok());
        }
    }
}

/// Starts the server. Below `/sub/` there is no `connected` event, and below `/pub/` a publication
/// gets 201 without a body.
async fn faulty() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let faulty = Arc::new(Mutex::new(Faulty::default()));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, Arc::clone(&faulty)));
        }
    });
    address
}

async fn serve(stream: TcpStream, faulty: Arc<Mutex<Faulty>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut lines, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        if lines[0].starts_with("get ") {
            let connected = if lines[0].starts_with("get /sub/bench-") { "" } else { CONNECTED };
            return follow(stream.into_inner(), &faulty, connected).await;
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        for payload in String::from_utf8(body).unwrap().lines() {
            faulty.lock().publish(payload);
        }
        let answer = if lines[0].starts_with("post /pub/bench-") {
            "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{\"id\":\"1-0\"}"
        };
        stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
    }
}

/// A stream that is not chunked: it ends with its connection.
async fn follow(mut stream: TcpStream, faulty: &Mutex<Faulty>, connected: &str) {
    let (sender, mut frames) = unbounded_channel();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{connected}");
    faulty.lock().streams.push(sender);
    let _ = stream.write_all(head.as_bytes()).await;
    while let Some(frame) = frames.recv().await {
        if stream.write_all(frame.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Runs `tidings bench` with three clients against a server, and returns the output of `--json`. It
/// does not pass.
async fn failed_bench(arguments: &str) -> Value {
    let arguments = format!("bench --json --connections 3 --workspaces 1 --warm-up 0s {arguments}");
    let finished = run_tidings(&arguments.split_whitespace().collect::<Vec<_>>(), &[]).await;
    let figures: Value =
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    assert_eq!(finished.code, Some(1), "{figures}");
    figures
}

/// The events that were expected, received, missed with and without a reset, repeated, and out of
/// order.
fn counts(figures: &Value) -> [u64; 6] {
    ["expected", "received", "missing_reported", "missing_unreported", "duplicates", "out_of_order"]
        .map(|count| figures["receiving"][count].as_u64().unwrap())
}

/// `tidings bench` finds events that are lost, repeated or reordered without a reset.
#[tokio::test]
async fn silent_loss_repetition_and_disorder_are_found() {
    let url = format!("http://{}/api", faulty().await);
    let figures = failed_bench(&format!("--url {url} --rate 50 --duration 1s")).await;
    assert_eq!(counts(&figures), [150, 147, 0, 3, 3, 3], "{figures}");
    assert_eq!(figures["problems"].as_array().unwrap().len(), 3, "{figures}");
}

#[tokio::test]
async fn the_same_holds_without_a_connected_event() {
    let url = format!("http://{}", faulty().await);
    let places = format!("--path /sub/{{workspace}} --publish-url {url}/pub/{{workspace}} --no-connected");
    let figures = failed_bench(&format!("--url {url} {places} --rate 50 --duration 1s")).await;
    assert_eq!(counts(&figures), [150, 147, 0, 3, 3, 3], "{figures}");
    let publishing = &figures["publishing"];
    assert_eq!((&publishing["events"], &publishing["failed"]), (&50.into(), &0.into()), "{figures}");
    assert_eq!(figures["load"]["publish"], "url");
}

/// `tidings bench` ends although an event never arrives.
#[tokio::test]
async fn wait_for_a_lost_event_ends() {
    let url = format!("http://{}/api", faulty().await);
    let figures = failed_bench(&format!("--url {url} --in-flight 1 --duration 20s --grace 500ms")).await;
    assert_eq!(counts(&figures), [15, 12, 0, 3, 0, 0], "{figures}");
}

#[tokio::test]
async fn rejected_publications_fail_without_a_wait() {
    let url = format!("http://{}/api", faulty().await);
    // No program listens there.
    let elsewhere = "--publish-url http://127.0.0.1:1/{workspace} --in-flight 1 --duration 200ms";
    let figures = failed_bench(&format!("--url {url} {elsewhere}")).await;
    let publishing = &figures["publishing"];
    assert!(publishing["failed"].as_u64() > Some(1) && publishing["events"] == 0, "{figures}");
    let why = publishing["first_failure"].as_str().unwrap();
    assert!(why.contains("cannot reach http://127.0.0.1:1/bench-"), "{why}");
}
