//! One connection of a shard: its socket, its pending bytes and its phase.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::broadcast_buffer::{BroadcastBuffer, FrameRun};
use super::catching_up::CatchingUp;
use super::counts::EngineCounts;
use super::handoff::ConnectionGuards;
use super::outgoing::Outgoing;
use crate::stream_stats::StreamStats;
use tidings_event::UserKey;
use tidings_hub::{NEVER, StreamEnds, SubscriptionGuard, Tick};

/// The most runs of a buffer in one write, if frames between them are not for the client.
const RUNS: usize = 16;

/// The most reads of a socket at a time to discard bytes of the client.
const READS: usize = 4;

/// A connection. Its fields are dropped in this order. The log line precedes the end of the
/// subscription, and the socket is closed before its place is free.
pub(super) struct EngineClient {
    /// `None` once the last byte of the stream is sent.
    pub(super) stream_stats: Option<StreamStats>,
    pub(super) phase: Phase,
    pub(super) outgoing: Option<Box<Outgoing>>,
    pub(super) socket: TcpStream,
    /// The times at which the stream ends by itself.
    pub(super) ends: StreamEnds,
    /// The valid timer; others of this connection are ignored.
    pub(super) timer_at: Tick,
    /// The time since which the socket has taken no pending bytes.
    pub(super) stuck_since: Tick,
    /// The socket takes no more bytes until it reports that it is writable.
    pub(super) blocked: bool,
    /// The client may have sent more than was discarded so far.
    pub(super) unread: bool,
    /// It is in the queue of connections with work.
    pub(super) queued: bool,
    /// It lacks bytes of its buffer, and passes skip it.
    pub(super) behind: bool,
    /// Held for their `Drop` only.
    pub(super) _guards: ConnectionGuards,
}

/// The phase of a connection.
pub(super) enum Phase {
    /// It has a subscriber of its own.
    CatchingUp(Box<CatchingUp>),
    /// It has a cursor into a buffer.
    Broadcasting(BroadcastCursor),
    /// The last bytes are on their way. Until they are sent, the client counts as a subscriber.
    Ending {
        _guard: Option<SubscriptionGuard>,
        /// The time by which they have to be sent.
        by: Tick,
    },
    /// Every byte is sent; until this time the client may close the connection.
    Closing(Tick),
}

/// A cursor into a `BroadcastBuffer`.
pub(super) struct BroadcastCursor {
    pub(super) broadcast: u32,
    /// Its place among the clients of the broadcast.
    pub(super) index: u32,
    pub(super) cursor: u64,
    /// The user, if the stream has one.
    pub(super) user: Option<UserKey>,
    pub(super) subscription_guard: SubscriptionGuard,
}

/// The result of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Every byte is sent.
    All,
    /// The socket takes no more bytes for now.
    Blocked,
    /// The connection is gone.
    Gone(&'static str),
}

/// The result of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Discarded {
    /// No bytes are left.
    All,
    /// More bytes may be left.
    Some,
    /// The connection is gone.
    Gone(&'static str),
}

impl EngineClient {
    /// Sends the bytes that wait for this connection alone.
    pub(super) fn send_own(&mut self, now: Tick, counts: &mut EngineCounts) -> Sent {
        let Some(outgoing) = self.outgoing.as_mut() else { return Sent::All };
        while !outgoing.is_empty() {
            counts.writes += 1;
            match (&self.socket).write(outgoing.next()) {
                Ok(count) => {
                    let all = count == outgoing.next().len();
                    outgoing.advance(count);
                    self.stuck_since = NEVER;
                    if !all {
                        return self.block(now);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.block(now),
                Err(error) => return Sent::Gone(why_gone(&error)),
            }
        }
        if matches!(self.phase, Phase::Broadcasting(_)) {
            // From here on it needs no buffer of its own.
            self.outgoing = None;
        }
        Sent::All
    }

    /// Sends the bytes behind the cursor. No bytes may wait for this connection alone.
    pub(super) fn send_broadcast(
        &mut self,
        buffer: &BroadcastBuffer,
        now: Tick,
        counts: &mut EngineCounts,
    ) -> Sent {
        let Phase::Broadcasting(broadcast_cursor) = &mut self.phase else { return Sent::All };
        loop {
            if broadcast_cursor.cursor == buffer.head() {
                return Sent::All;
            }
            let has_private = buffer.has_private_after(broadcast_cursor.cursor);
            let from = broadcast_cursor.cursor;
            let (written, wanted) = if has_private {
                write_runs(&self.socket, buffer, broadcast_cursor)
            } else {
                let bytes = buffer.after(from);
                let written = (&self.socket).write(bytes);
                broadcast_cursor.cursor += written.as_ref().map_or(0, |&count| count as u64);
                (written, bytes.len())
            };
            if wanted == 0 && broadcast_cursor.cursor == from {
                // Frames are dropped behind the slowest client only, so this cannot happen. If it
                // did, no write would ever change it.
                debug_assert!(false, "a cursor has fallen out of its buffer");
                return Sent::Gone("has lost its place");
            }
            counts.writes += u64::from(wanted > 0);
            let given = buffer.given(from, broadcast_cursor.cursor, broadcast_cursor.user);
            let count = written.as_ref().map_or(0, |&count| count as u64);
            counts.deliveries += given.events;
            counts.bytes += given.bytes;
            if let Some(stream_stats) = &mut self.stream_stats {
                stream_stats.events += given.events;
                stream_stats.bytes += given.bytes;
            }
            if count > 0 {
                self.stuck_since = NEVER;
            }
            match written {
                Ok(count) if count == wanted => {}
                Ok(_) => return self.block(now),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.block(now),
                Err(error) => return Sent::Gone(why_gone(&error)),
            }
        }
    }

    /// Sends shared bytes while no other bytes wait for this connection. The rest that the socket
    /// does not take waits for this connection alone.
    pub(super) fn send_shared(&mut self, bytes: &[u8], now: Tick, counts: &mut EngineCounts) -> Sent {
        counts.writes += 1;
        let count = loop {
            match (&self.socket).write(bytes) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break 0,
                Err(error) => return Sent::Gone(why_gone(&error)),
            }
        };
        if count == bytes.len() {
            return Sent::All;
        }
        self.outgoing().end().extend_from_slice(&bytes[count..]);
        self.block(now)
    }

    fn block(&mut self, now: Tick) -> Sent {
        self.blocked = true;
        if self.stuck_since == NEVER {
            self.stuck_since = now;
        }
        Sent::Blocked
    }

    /// Discards the bytes that the client sent; a stream accepts no further request.
    pub(super) fn discard(&mut self, scratch: &mut [u8]) -> Discarded {
        for _ in 0..READS {
            match self.socket.read(scratch) {
                // A client that closes one direction has left, as for hyper.
                Ok(0) => return Discarded::Gone("client left"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Discarded::All,
                Err(error) => return Discarded::Gone(why_gone(&error)),
            }
        }
        Discarded::Some
    }

    /// Closes the writing side; returns whether the client is still connected.
    pub(super) fn close_write(&self) -> bool {
        self.socket.shutdown(Shutdown::Write).is_ok()
    }

    /// The reason for which the kernel closed the connection.
    pub(super) fn why_failed(&self) -> &'static str {
        match self.socket.take_error() {
            Ok(Some(error)) => why_gone(&error),
            Ok(None) | Err(_) => "client left",
        }
    }

    /// Whether only the response head is pending, which is sent together with the first message.
    pub(super) fn is_opening(&self) -> bool {
        matches!(&self.phase, Phase::CatchingUp(catching_up) if catching_up.lifecycle.is_opening())
    }

    /// The buffer for bytes of this connection alone.
    pub(super) fn outgoing(&mut self) -> &mut Outgoing {
        self.outgoing.get_or_insert_default()
    }

    /// The earliest time at which the connection needs work.
    pub(super) fn next_timer(&self, write_timeout: u64) -> Tick {
        let stuck = if self.blocked { self.stuck_since.saturating_add(write_timeout) } else { NEVER };
        match &self.phase {
            Phase::CatchingUp(catching_up) => catching_up.lifecycle.next_at(&self.ends).min(stuck),
            Phase::Broadcasting(_) => self.ends.next().min(stuck),
            Phase::Ending { by, .. } => stuck.min(*by),
            Phase::Closing(at) => *at,
        }
    }
}

/// Writes runs of frames for a client and moves its cursor. Returns the number of bytes written,
/// and the number to be written.
fn write_runs(
    mut socket: &TcpStream,
    buffer: &BroadcastBuffer,
    broadcast_cursor: &mut BroadcastCursor,
) -> (io::Result<usize>, usize) {
    broadcast_cursor.cursor = buffer.skip_hidden(broadcast_cursor.cursor, broadcast_cursor.user);
    let mut runs = [FrameRun::default(); RUNS];
    let count = buffer.runs(broadcast_cursor.cursor, broadcast_cursor.user, &mut runs);
    let runs = &runs[..count];
    let wanted = runs.iter().map(|run| run.bytes.len()).sum();
    if wanted == 0 {
        return (Ok(0), 0);
    }
    let mut slices = [IoSlice::new(&[]); RUNS];
    for (slice, run) in slices.iter_mut().zip(runs) {
        *slice = IoSlice::new(run.bytes);
    }
    let written = socket.write_vectored(&slices[..count]);
    if let Ok(mut left) = written {
        for run in runs {
            if left == 0 {
                break;
            }
            let taken = left.min(run.bytes.len());
            broadcast_cursor.cursor = run.begin + taken as u64;
            left -= taken;
        }
        broadcast_cursor.cursor = buffer.skip_hidden(broadcast_cursor.cursor, broadcast_cursor.user);
    }
    (written, wanted)
}

/// The reason in the log line for an error of a socket.
fn why_gone(error: &io::Error) -> &'static str {
    match error.kind() {
        // The client exceeded the keepalive or the user timeout.
        ErrorKind::TimedOut => "takes no bytes, or is gone",
        _ => "client left",
    }
}
