//! HTTP/2 frame by frame (RFC 9113 section 4), for clients that do what no library does.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Kinds of frames (RFC 9113 section 6).
pub const DATA: u8 = 0;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;

const ACK: u8 = 1;
/// What a connection begins with, before its first frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame that arrived.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
    flags: u8,
}

/// A connection with prior knowledge.
#[derive(Debug)]
pub struct FrameConnection {
    stream: TcpStream,
    address: SocketAddr,
}

impl FrameConnection {
    /// Connects and sends the preface, with settings as in a frame.
    pub async fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        stream.write_all(PREFACE).await.expect("send the preface");
        let mut connection = Self { stream, address };
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        assert!(connection.send(&frame(SETTINGS, 0, 0, &payload)).await);
        connection
    }

    /// Sends bytes; `false` where the other side has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let writing = tokio::time::timeout(Duration::from_secs(5), self.stream.write_all(bytes));
        matches!(writing.await, Ok(Ok(())))
    }

    /// The bytes of a `GET` of a workspace's stream.
    pub fn get(&self, stream: u32, workspace: &str) -> Vec<u8> {
        get(&self.address.to_string(), stream, workspace)
    }

    /// The next frame; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], stream, flags: head[4], payload })
    }

    /// Reads until the connection ends, with replies to pings, and returns the kinds of the frames.
    /// Fails the test when it stays open.
    pub async fn closed(&mut self, within: Duration) -> Vec<u8> {
        let reading = async {
            let mut kinds = Vec::new();
            while let Some(got) = self.next().await {
                kinds.push(got.kind);
                if got.kind == PING && got.flags & ACK == 0 {
                    self.send(&frame(PING, ACK, 0, &got.payload)).await;
                }
            }
            kinds
        };
        let closed = tokio::time::timeout(within, reading).await;
        closed.unwrap_or_else(|_| panic!("not within {within:?}: the end of the connection"))
    }
}

/// The bytes of a `GET` of a workspace's stream.
pub fn get(authority: &str, stream: u32, workspace: &str) -> Vec<u8> {
    let path = format!("/api/workspaces/{workspace}/events");
    // GET and http by their places in the static table, the rest spelled out (RFC 7541 section 6).
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(0x04, path.as_str()), (0x01, authority)] {
        block.extend([name, u8::try_from(value.len()).expect("a short value")]);
        block.extend(value.as_bytes());
    }
    // END_STREAM and END_HEADERS.
    frame(1, 0x5, stream, &block)
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
