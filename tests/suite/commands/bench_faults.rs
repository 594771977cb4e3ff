//! `tidings bench` against a server that makes mistakes on purpose: what no broker here does has to be found out too.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::support::commands::run_tidings;

/// Streams of one workspace that share what is published.
#[derive(Default)]
struct Faulty {
    streams: Vec<UnboundedSender<String>>,
    published: usize,
    held: Option<String>,
}

impl Faulty {
    /// Sends an event to everybody: but the fifth is lost, the tenth goes out twice, and the fifteenth behind the next.
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

/// Starts the server.
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
            return follow(stream.into_inner(), &faulty).await;
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        for payload in String::from_utf8(body).unwrap().lines() {
            faulty.lock().publish(payload);
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{\"id\":\"1-0\"}";
        stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
    }
}

/// A stream that is not chunked: it ends with its connection.
async fn follow(mut stream: TcpStream, faulty: &Mutex<Faulty>) {
    let (sender, mut frames) = unbounded_channel();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"type\":\"connected\",\"workspaceId\":\"x\"}\n\n";
    faulty.lock().streams.push(sender);
    let _ = stream.write_all(head.as_bytes()).await;
    while let Some(frame) = frames.recv().await {
        if stream.write_all(frame.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn what_is_lost_or_repeated_or_turned_round_in_silence_is_found_out() {
    let url = format!("http://{}/api", faulty().await);
    let load =
        ["--connections", "3", "--workspaces", "1", "--rate", "50", "--duration", "1s", "--warm-up", "0s"];
    let finished = run_tidings(&[&["bench", "--json", "--url", &url][..], &load].concat(), &[]).await;
    let figures: Value =
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    assert_eq!(finished.code, Some(1), "{figures}");
    let receiving = &figures["receiving"];
    let counts = ["expected", "received", "missing_told", "missing_untold", "duplicates", "out_of_order"];
    assert_eq!(counts.map(|count| receiving[count].as_u64().unwrap()), [150, 147, 0, 3, 3, 3], "{figures}");
    assert_eq!(figures["problems"].as_array().unwrap().len(), 3, "{figures}");
}
