//! The error that a server sends before it closes a connection, as beyond `maxclients` or in
//! protected mode. The server does not read before that, so a client that sends first mostly loses
//! the error.

use std::time::Duration;

use redis::ConnectionAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpStream, UnixStream};

/// Limits the time for the connection and the error. A server that accepts the connection sends
/// nothing in that time.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Limits the text, in bytes. That of protected mode has about 1,000.
const BYTES_MAX: u64 = 2048;

/// Connects, sends nothing, and returns the error that the server sends, if there is one. Returns
/// `None` for TLS, because a server sends no error before the handshake. Cancellation safe.
pub(super) async fn read(address: &ConnectionAddr) -> Option<String> {
    tokio::time::timeout(TIMEOUT, connect_and_read(address)).await.ok()?
}

async fn connect_and_read(address: &ConnectionAddr) -> Option<String> {
    match address {
        ConnectionAddr::Tcp(host, port) => {
            error_of(TcpStream::connect((host.as_str(), *port)).await.ok()?).await
        }
        ConnectionAddr::Unix(path) => error_of(UnixStream::connect(path).await.ok()?).await,
        _ => None,
    }
}

async fn error_of(stream: impl AsyncRead + Unpin) -> Option<String> {
    let mut text = Vec::new();
    stream.take(BYTES_MAX).read_to_end(&mut text).await.ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.strip_prefix('-')?.lines().next()?;
    Some(line.chars().filter(|c| !c.is_control()).collect())
}
