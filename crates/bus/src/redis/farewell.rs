//! What a server says before it closes a connection that it does not serve, as beyond `maxclients` or in protected mode. It
//! says so without reading, so the answer is mostly lost on a client that sends first.

use std::time::Duration;

use redis::ConnectionAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpStream, UnixStream};

/// Bound on a connection and what comes over it. A server that serves connections says nothing for so long.
const PATIENCE: Duration = Duration::from_millis(500);

/// The longest text that is read, in bytes. That of protected mode has about 1,000.
const BYTES_MAX: u64 = 2048;

/// Connects, sends nothing, and returns the error that the server sends, if it does. Over TLS nothing can be said before the
/// handshake. Cancellation safe.
pub(super) async fn of(address: &ConnectionAddr) -> Option<String> {
    tokio::time::timeout(PATIENCE, listen(address)).await.ok()?
}

async fn listen(address: &ConnectionAddr) -> Option<String> {
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
