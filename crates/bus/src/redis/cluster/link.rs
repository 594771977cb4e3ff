//! One connection for sharded subscriptions.
//!
//! The client library takes a `sunsubscribe` that no command asked for as the reply to the next
//! command. So the node decodes the replies of this connection itself. Push messages are events.
//! All other values are replies, in the order of the commands.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures_util::StreamExt as _;
use redis::{Cmd, ErrorKind, PushKind, RedisError, RedisResult, Value, ValueCodec};
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio_util::codec::FramedRead;

use super::super::bounded::{Bound, Bounded, ServerConduct};
use super::super::connection::{ConnectionOpenError, Socket, connect};
use super::super::credentials::Login;
use super::super::identity::ServerIdentity;

/// A connection after its login.
pub(crate) struct ShardLink {
    replies: FramedRead<ReadHalf<Bounded<Box<dyn Socket>>>, ValueCodec>,
    socket: WriteHalf<Bounded<Box<dyn Socket>>>,
    /// Bytes that the socket has not taken yet.
    unsent: BytesMut,
    conduct: ServerConduct,
    pub(super) server: ServerIdentity,
}

/// A value that the server sent.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// A message that replies to no command, or a confirmation.
    Push(PushKind, Vec<Value>),
    /// The reply to the first command without one.
    Reply(RedisResult<Value>),
}

impl ShardLink {
    /// Connects and logs in, within a time. Cancellation safe.
    pub(in super::super) async fn open(
        login: &Login,
        bound: &Arc<Bound>,
        within: Duration,
    ) -> Result<Self, ConnectionOpenError> {
        let late = |_| Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)).into());
        tokio::time::timeout(within, Self::open_unbounded(login, bound)).await.unwrap_or_else(late)
    }

    async fn open_unbounded(login: &Login, bound: &Arc<Bound>) -> Result<Self, ConnectionOpenError> {
        let socket = Bounded::new(connect(login).await?, Arc::clone(bound));
        let conduct = socket.conduct();
        let (read, write) = tokio::io::split(socket);
        let replies = FramedRead::new(read, ValueCodec::default());
        let mut link = Self {
            replies,
            socket: write,
            unsent: BytesMut::new(),
            conduct,
            server: ServerIdentity::default(),
        };
        let settings = login.info.redis_settings();
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        if let Some(password) = settings.password() {
            hello.arg("AUTH").arg(settings.username().unwrap_or("default")).arg(password);
        }
        link.send(&hello);
        // An error of the login is the error of the link. A server that does not know the command
        // for the name works without it.
        let reply = link.reply().await?.map_err(ConnectionOpenError::Redis)?;
        link.server = ServerIdentity::of_hello(reply);
        let mut name = redis::cmd("CLIENT");
        name.arg("SETINFO").arg("LIB-NAME").arg("tidings");
        link.send(&name);
        let _ = link.reply().await?;
        Ok(link)
    }

    /// Returns the reply to the only command under way.
    async fn reply(&mut self) -> Result<RedisResult<Value>, ConnectionOpenError> {
        loop {
            match self.next().await {
                Ok(LinkEvent::Reply(reply)) => return Ok(reply),
                Ok(LinkEvent::Push(..)) => {}
                Err(error) => {
                    let fault = self.conduct.fault();
                    return Err(fault.map_or_else(|| error.into(), ConnectionOpenError::Fault));
                }
            }
        }
    }

    /// Adds a command to the bytes that [`Self::next`] writes. The caller bounds the commands
    /// without a reply.
    pub(super) fn send(&mut self, command: &Cmd) {
        self.unsent.extend_from_slice(&command.get_packed_command());
    }

    /// Announces that so many channels are about to be confirmed.
    pub(super) fn expect_confirmations(&self, count: usize) {
        self.conduct.expect_confirmations(count);
    }

    /// Returns the reason for which the node closes the connection, if the server is at fault.
    pub(super) fn fault(&self) -> Option<String> {
        self.conduct.fault().map(|fault| fault.to_string())
    }

    /// Writes commands until the server sends a value. Cancellation safe.
    ///
    /// # Errors
    ///
    /// Returns the error of a connection that has ended, or of data that no Redis sends.
    pub(super) async fn next(&mut self) -> RedisResult<LinkEvent> {
        loop {
            let value = if self.unsent.is_empty() {
                self.replies.next().await
            } else {
                tokio::select! {
                    value = self.replies.next() => value,
                    written = self.socket.write(&self.unsent) => {
                        match written? {
                            0 => return Err(ended()),
                            bytes => self.unsent.advance(bytes),
                        }
                        continue;
                    }
                }
            };
            return match value {
                None => Err(ended()),
                Some(Err(error)) => Err(error),
                Some(Ok(Value::Push { kind, data })) => {
                    self.conduct.check(&kind);
                    Ok(LinkEvent::Push(kind, data))
                }
                Some(Ok(Value::ServerError(error))) => Ok(LinkEvent::Reply(Err(error.into()))),
                Some(Ok(value)) => Ok(LinkEvent::Reply(Ok(value))),
            };
        }
    }
}

fn ended() -> RedisError {
    RedisError::from((ErrorKind::Io, "the server closed the connection"))
}

#[cfg(test)]
mod tests;
