//! A client that sends and receives bytes and understands nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::DEADLINE;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(super) struct Wire {
    stream: Box<dyn Stream>,
    asked: usize,
}

impl Wire {
    pub(super) async fn tcp(address: SocketAddr) -> Self {
        Self { stream: Box::new(TcpStream::connect(address).await.unwrap()), asked: 0 }
    }

    pub(super) async fn unix(path: &Path) -> Self {
        Self { stream: Box::new(UnixStream::connect(path).await.unwrap()), asked: 0 }
    }

    /// Sends bytes; that the other side has closed shows when reading.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(DEADLINE, self.stream.write_all(bytes)).await.expect("nobody takes the bytes");
    }

    /// Sends bytes, then a PING with a mark, and returns all that comes, up to the mark or the end
    /// of the connection.
    pub(super) async fn ask(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.asked += 1;
        let mark = format!("mark-{:06}", self.asked);
        self.send(&[bytes, &command(&[b"PING", mark.as_bytes()])].concat()).await;
        self.read_until(format!("{mark}\r\n").as_bytes()).await
    }

    /// The same with a mark in an unknown command, which gets an error before the password too.
    pub(super) async fn ask_unauthenticated(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.asked += 1;
        let mark = format!("mark-{:06}", self.asked);
        self.send(&[bytes, &command(&[&mark])].concat()).await;
        let has_mark = |read: &[u8]| read.windows(mark.len()).any(|part| part == mark.as_bytes());
        self.read_while(|read| !(has_mark(read) && read.ends_with(b"\r\n")), &mark).await
    }

    /// Sends bytes, and returns whether the other side is still there to take them, which may be
    /// long after.
    pub(super) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Sends bytes again and again until the response begins as expected.
    pub(super) async fn ask_until(&mut self, bytes: &[u8], expected: &[u8]) {
        let asking = async {
            while !self.ask(bytes).await.starts_with(expected) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(timeout(DEADLINE, asking).await.is_ok(), "waited in vain for {:?}", show(expected));
    }

    /// Reads up to and with an ending, or up to the end of the connection.
    pub(super) async fn read_until(&mut self, ending: &[u8]) -> Vec<u8> {
        self.read_while(|read| !read.ends_with(ending), &show(ending)).await
    }

    /// Reads while a condition holds on all that was read, up to the end of the connection.
    async fn read_while(&mut self, goes_on: impl Fn(&[u8]) -> bool, awaited: &str) -> Vec<u8> {
        let mut read = Vec::new();
        let reading =
            async { while goes_on(&read) && self.stream.read_buf(&mut read).await.unwrap_or(0) > 0 {} };
        let ended = timeout(DEADLINE, reading).await;
        assert!(ended.is_ok(), "waited in vain for {awaited:?} behind {:?}", show(&read));
        read
    }

    /// Reads to the end of the connection.
    pub(super) async fn read_to_end(&mut self) -> Vec<u8> {
        self.read_until(b"an ending that never comes").await
    }
}

/// A command as clients send it.
pub(super) fn command<T: AsRef<[u8]>>(arguments: &[T]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
        bytes.extend(argument);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// A command whose arguments have no blanks in them.
pub(super) fn words(line: &str) -> Vec<u8> {
    command(&line.split(' ').collect::<Vec<_>>())
}

/// Bytes as a person reads them.
pub(super) fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\r\\n", " ")
}

/// The same, with the codes of errors and without their texts.
pub(super) fn show_codes(bytes: &[u8]) -> String {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let code = |line: &[u8]| show(line).split(' ').next().unwrap_or_default().to_owned() + " ";
    lines.map(|line| if line.starts_with(b"-") { code(line) } else { show(line) }).collect()
}
