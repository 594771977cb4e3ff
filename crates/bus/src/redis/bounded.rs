//! Limits on the data that a server makes the client library store.
//!
//! The client library stores a reply until it is complete, and the name of every channel that a
//! server confirms. Without limits, a server that never completes a reply or never stops confirming
//! could fill the memory of the node. Another program at its address could do so too.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use redis::{ErrorKind, PushKind, RedisError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use tidings_metrics::Throttle;

/// The bytes that each value counts beside its own: about the memory that the client library uses
/// for one.
const VALUE_BYTES: u64 = 64;

/// Limits a line (an error, a status or a number), in bytes. The client library searches an
/// incomplete line from its start each time.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Limits a line with a length, in bytes: far more than the digits of any length.
const LENGTH_BYTES_MAX: usize = 32;

/// The start of the error of a command.
const CLOSED: &str = "the connection was closed";

/// Limits the depth of nested values. The client library accepts 100.
const DEPTH_MAX: usize = 128;

/// The limit for all connections of a node, and its log lines.
#[derive(Debug)]
pub(super) struct Bound {
    bytes: u64,
    warnings: Throttle,
}

impl Bound {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes: bytes as u64, warnings: Throttle::default() })
    }
}

/// The reason for which the node closes the connection to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerFault {
    /// A reply or message is over the limit.
    #[error("the server sends a longer reply or message than redis.reply_bytes ({bytes}) allows")]
    TooLong {
        /// The limit.
        bytes: u64,
    },
    /// The server confirms more subscriptions than the node requested.
    #[error("the server confirms subscriptions that the node did not request")]
    NotRequested,
}

impl ServerFault {
    /// Returns the error for a command whose connection was closed.
    pub(super) fn command_error(self) -> RedisError {
        RedisError::from((ErrorKind::Io, CLOSED, self.to_string()))
    }

    /// Returns whether an error comes from [`Self::command_error`] of a reply over the limit.
    pub(super) fn is_long_reply(error: &RedisError) -> bool {
        error.kind() == ErrorKind::Io && {
            let text = error.to_string();
            text.starts_with(CLOSED) && text.contains("redis.reply_bytes")
        }
    }
}

/// The fault of a connection's server, if it has one, and the number of expected confirmations.
/// The fault is set before the connection fails.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerConduct(Arc<Conduct>);

#[derive(Debug, Default)]
struct Conduct {
    fault: OnceLock<ServerFault>,
    /// Subscriptions that were requested and are not confirmed.
    unconfirmed: AtomicU64,
}

impl ServerConduct {
    /// Returns the fault that ended the connection, if one did.
    pub(super) fn fault(&self) -> Option<ServerFault> {
        self.0.fault.get().copied()
    }

    /// Expects the confirmations of a number of channels. A rejected request leaves them expected,
    /// so a server may confirm that many channels more.
    pub(super) fn expect_confirmations(&self, count: usize) {
        self.0.unconfirmed.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts a message of the server. A confirmation that the node does not expect is a fault.
    pub(super) fn check(&self, kind: &PushKind) {
        let is_confirmation =
            matches!(kind, PushKind::Subscribe | PushKind::PSubscribe | PushKind::SSubscribe);
        let counted = |count: u64| count.checked_sub(1);
        if is_confirmation
            && self.0.unconfirmed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).is_err()
        {
            // The next read of the socket fails.
            let _ = self.0.fault.set(ServerFault::NotRequested);
        }
    }
}

/// A socket that fails as soon as its server exceeds the limit.
pub(super) struct Bounded<S> {
    socket: S,
    meter: Meter,
    bound: Arc<Bound>,
    conduct: ServerConduct,
    /// The fault was logged.
    is_logged: bool,
}

impl<S> Bounded<S> {
    pub(super) fn new(socket: S, bound: Arc<Bound>) -> Self {
        Self {
            socket,
            meter: Meter::new(bound.bytes),
            bound,
            conduct: ServerConduct::default(),
            is_logged: false,
        }
    }

    /// Returns the value to query for the cause after a failure.
    pub(super) fn conduct(&self) -> ServerConduct {
        self.conduct.clone()
    }

    fn fail(&mut self, fault: ServerFault) -> io::Error {
        if !std::mem::replace(&mut self.is_logged, true)
            && let Some(silenced) = self.bound.warnings.pass()
        {
            match fault {
                ServerFault::TooLong { bytes } => tracing::warn!(
                    reply_bytes = bytes,
                    silenced,
                    "the server at the address of Redis sends a reply or message that is too long (redis.reply_bytes): the node \
                     closes the connection and connects again"
                ),
                ServerFault::NotRequested => tracing::warn!(
                    silenced,
                    "the server at the address of Redis confirms subscriptions that the node did not request: the node closes \
                     the connection and connects again"
                ),
            }
        }
        // After an error of this kind, the client library gives up the connection.
        io::Error::new(io::ErrorKind::ConnectionAborted, fault)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(fault) = self.conduct.fault() {
            return Poll::Ready(Err(self.fail(fault)));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        Poll::Ready(match self.meter.read(&buffer.filled()[before..]) {
            Ok(()) => Ok(()),
            Err(OverBound) => {
                let fault = ServerFault::TooLong { bytes: self.bound.bytes };
                let first = *self.conduct.0.fault.get_or_init(|| fault);
                Err(self.fail(first))
            }
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl<S> fmt::Debug for Bounded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded").field("meter", &self.meter).finish_non_exhaustive()
    }
}

/// Reports that the current value, or one that it contains, exceeds the limit.
#[derive(Debug, PartialEq, Eq)]
struct OverBound;

/// Follows the values in a stream of RESP and counts the bytes of each outermost value. It does not
/// check the syntax, which the client library does.
#[derive(Debug)]
struct Meter {
    max: u64,
    /// The bytes of the current outermost value, as far as they are known.
    counted: u64,
    state: MeterState,
    /// The number of values that are still missing in each value around the current one.
    missing: Vec<u64>,
}

#[derive(Debug)]
enum MeterState {
    /// Before the first byte of a value.
    Start,
    /// In the first line of a value.
    Line(ReplyLine),
    /// In a text with this number of bytes left, line end included.
    Text(u64),
}

#[derive(Debug)]
struct ReplyLine {
    kind: u8,
    /// Without the first byte.
    bytes: u64,
    after_return: bool,
    length: [u8; LENGTH_BYTES_MAX],
}

impl Meter {
    fn new(max: u64) -> Self {
        Self { max, counted: 0, state: MeterState::Start, missing: Vec::new() }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), OverBound> {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.state {
                MeterState::Start => {
                    self.count(VALUE_BYTES)?;
                    self.state = MeterState::Line(ReplyLine::new(first));
                    bytes = rest;
                }
                MeterState::Line(line) => {
                    let ended = line.push(first)?;
                    bytes = rest;
                    if ended {
                        let line = std::mem::replace(&mut self.state, MeterState::Start);
                        if let MeterState::Line(line) = line {
                            self.end_line(&line)?;
                        }
                    }
                }
                MeterState::Text(left) => {
                    let count = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    *left -= count as u64;
                    bytes = &bytes[count..];
                    if *left == 0 {
                        self.end_value();
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts bytes that were received or announced.
    fn count(&mut self, bytes: u64) -> Result<(), OverBound> {
        self.counted = self.counted.saturating_add(bytes);
        if self.counted > self.max { Err(OverBound) } else { Ok(()) }
    }

    fn end_line(&mut self, line: &ReplyLine) -> Result<(), OverBound> {
        self.count(line.bytes)?;
        let values = match line.kind {
            b'$' | b'!' | b'=' => {
                return match line.length() {
                    // The client library stores it as a whole.
                    Some(length) => {
                        let text = length.saturating_add(2);
                        self.count(text)?;
                        self.state = MeterState::Text(text);
                        Ok(())
                    }
                    None => {
                        self.end_value();
                        Ok(())
                    }
                };
            }
            b'*' | b'~' | b'>' => line.length().unwrap_or(0),
            b'%' => line.length().unwrap_or(0).saturating_mul(2),
            // Pairs, followed by the value that they describe.
            b'|' => line.length().unwrap_or(0).saturating_mul(2).saturating_add(1),
            _ => 0,
        };
        if values == 0 {
            self.end_value();
            return Ok(());
        }
        // Announced values count when they are received. Fail at once if they can never fit.
        if self.missing.len() == DEPTH_MAX || values.saturating_mul(VALUE_BYTES) > self.max - self.counted {
            return Err(OverBound);
        }
        self.missing.push(values);
        Ok(())
    }

    fn end_value(&mut self) {
        self.state = MeterState::Start;
        while let Some(left) = self.missing.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.missing.pop();
        }
        self.counted = 0;
    }
}

impl ReplyLine {
    fn new(kind: u8) -> Self {
        Self { kind, bytes: 0, after_return: false, length: [0; LENGTH_BYTES_MAX] }
    }

    /// Adds a byte; returns whether it ends the line.
    fn push(&mut self, byte: u8) -> Result<bool, OverBound> {
        let states_length = matches!(self.kind, b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' | b'|');
        if states_length {
            let place = usize::try_from(self.bytes).ok().and_then(|at| self.length.get_mut(at));
            *place.ok_or(OverBound)? = byte;
        }
        self.bytes += 1;
        let ended = self.after_return && byte == b'\n';
        self.after_return = byte == b'\r';
        if self.bytes > LINE_BYTES_MAX { Err(OverBound) } else { Ok(ended) }
    }

    /// Returns the length in the line, parsed as the client library does. Returns `None` without a
    /// length, and for the negative one of a null.
    fn length(&self) -> Option<u64> {
        let digits = self.length.get(..usize::try_from(self.bytes).ok()?)?;
        let length = std::str::from_utf8(digits).ok()?.trim().parse::<i64>().ok()?;
        u64::try_from(length).ok()
    }
}

#[cfg(test)]
mod tests;
