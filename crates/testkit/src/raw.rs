//! HTTP connections on which a test writes what it likes, well formed or not.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::http::Response;
use super::sse::{Framing, read_head};
use super::wait::DEADLINE;

/// An open connection.
#[derive(Debug)]
pub struct RawConnection(TcpStream);

impl RawConnection {
    /// Connects and says nothing.
    pub async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("connect"))
    }

    /// Connects to a socket in the file system.
    pub async fn open_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).await.expect("connect").into_std().expect("a socket");
        // The type says TCP; reading and writing are the same.
        let stream = std::net::TcpStream::from(OwnedFd::from(stream));
        Self(TcpStream::from_std(stream).expect("a socket"))
    }

    /// The address of this side.
    pub fn local_address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    /// Sends bytes. They may get lost where the other side has closed.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref()).await;
    }

    /// Reads a response whose body has an end. Fails the test when there is none.
    pub async fn answer(&mut self) -> Response {
        tokio::time::timeout(DEADLINE, self.read_answer())
            .await
            .expect("an answer in time")
            .expect("an answer")
    }

    /// Reads until something has come, and returns all that has. Fails the test if it does not
    /// come.
    pub async fn read_until(&mut self, wanted: &str) -> String {
        let mut bytes = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&bytes).contains(wanted) {
                assert_ne!(self.0.read_buf(&mut bytes).await.expect("bytes"), 0, "cut before {wanted:?}");
            }
        };
        tokio::time::timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("not in time: {wanted:?}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends a request and reads its response.
    pub async fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request).await;
        self.answer().await
    }

    /// Waits until the other side closes, and returns what it sent before. Fails the test when it
    /// stays open.
    pub async fn closed(&mut self, within: Duration) -> Vec<u8> {
        let mut bytes = Vec::new();
        let reading = tokio::time::timeout(within, self.0.read_to_end(&mut bytes)).await;
        // A reset is an end too.
        let _ = reading.unwrap_or_else(|_| panic!("not within {within:?}: the end of the connection"));
        bytes
    }

    /// Reads a response and returns its status; for a stream, whose body does not end, once its
    /// head has arrived. Fails the test when there is none.
    pub async fn status(&mut self) -> StatusCode {
        let reading = async {
            let (status, headers, rest) = read_head(&mut self.0).await?;
            let is_stream = headers
                .get(CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            if !is_stream {
                self.read_body(status, headers, rest).await?;
            }
            Ok::<_, std::io::Error>(status)
        };
        tokio::time::timeout(DEADLINE, reading).await.expect("an answer in time").expect("an answer")
    }

    async fn read_answer(&mut self) -> std::io::Result<Response> {
        let (status, headers, rest) = read_head(&mut self.0).await?;
        self.read_body(status, headers, rest).await
    }

    async fn read_body(
        &mut self,
        status: StatusCode,
        headers: HeaderMap,
        rest: Vec<u8>,
    ) -> std::io::Result<Response> {
        let mut bytes = rest;
        let mut framing = Framing::of(&headers);
        let mut body = Vec::new();
        loop {
            body.extend(framing.feed(&std::mem::take(&mut bytes)));
            if framing.is_complete() {
                break;
            }
            if self.0.read_buf(&mut bytes).await? == 0 {
                assert!(framing.may_end_here(), "cut within the body");
                break;
            }
        }
        Ok(Response { status, headers, body: body.into() })
    }
}

/// The head of a request, without a body.
pub fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", lines.concat())
}
