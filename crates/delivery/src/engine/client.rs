//! One connection of a shard: its socket, what waits for it, and how far it has come.

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

/// How many runs of a log go out with one write, where something between them is not for the
/// client.
const RUNS: usize = 16;

/// How often a socket is read at a time to throw away what a client sends.
const READS: usize = 4;

/// A connection. Its fields are dropped in their order: the log line comes before the workspace is
/// left, and the socket is closed before its place is given to another.
pub(super) struct EngineClient {
    /// `None` when the stream's last byte is out.
    pub(super) stream_stats: Option<StreamStats>,
    pub(super) phase: Phase,
    pub(super) outgoing: Option<Box<Outgoing>>,
    pub(super) socket: TcpStream,
    /// When the stream ends by itself.
    pub(super) ends: StreamEnds,
    /// The alarm that counts.
    pub(super) timer_at: Tick,
    /// Since when the socket has taken nothing of what waits.
    pub(super) stuck_since: Tick,
    /// The socket takes no more until it says so.
    pub(super) blocked: bool,
    /// It may have sent more than was thrown away so far.
    pub(super) unread: bool,
    /// It stands in the queue of those who have something to do.
    pub(super) queued: bool,
    /// It has not everything that its log holds, and is not reached by rounds.
    pub(super) behind: bool,
    /// Only kept.
    pub(super) _guards: ConnectionGuards,
}

/// How far a connection has come.
pub(super) enum Phase {
    /// It is read for alone.
    CatchingUp(Box<CatchingUp>),
    /// It is a cursor into a log.
    Live(BroadcastCursor),
    /// The last bytes are on their way. Until they are out, the client counts as a subscriber.
    Ending {
        _guard: Option<SubscriptionGuard>,
        /// When they have to be out.
        by: Tick,
    },
    /// All is said; until then the other side may hang up by itself.
    Closing(Tick),
}

/// A place in a log.
pub(super) struct BroadcastCursor {
    pub(super) log: u32,
    /// Its place among the log's clients.
    pub(super) index: u32,
    pub(super) cursor: u64,
    /// Who looks, where it matters.
    pub(super) user: Option<UserKey>,
    pub(super) subscription_guard: SubscriptionGuard,
}

/// What came of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Everything is out.
    All,
    /// The socket takes no more for now.
    Blocked,
    /// The connection is gone.
    Gone(&'static str),
}

/// What came of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Discarded {
    /// There is nothing more.
    All,
    /// There may be more.
    Some,
    /// The connection is gone.
    Gone(&'static str),
}

impl EngineClient {
    /// Sends what waits for this connection alone.
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
        if matches!(self.phase, Phase::Live(_)) {
            // From here on it needs no memory of its own.
            self.outgoing = None;
        }
        Sent::All
    }

    /// Sends what the log holds behind the cursor. Nothing may wait for this connection alone.
    pub(super) fn send_broadcast(
        &mut self,
        buffer: &BroadcastBuffer,
        now: Tick,
        counts: &mut EngineCounts,
    ) -> Sent {
        let Phase::Live(broadcast_cursor) = &mut self.phase else { return Sent::All };
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
                // A log is cut behind its slowest client, so this is not so; if it were, no write
                // would ever change it.
                debug_assert!(false, "a cursor has fallen out of its log");
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

    /// Sends bytes that many get, when nothing else waits for this connection. What the socket does
    /// not take waits for this connection alone.
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

    /// Throws away what the client sent: there is nothing that it could ask for any more.
    pub(super) fn discard(&mut self, scratch: &mut [u8]) -> Discarded {
        for _ in 0..READS {
            match self.socket.read(scratch) {
                // Who closes one direction has left, as for hyper.
                Ok(0) => return Discarded::Gone("client left"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Discarded::All,
                Err(error) => return Discarded::Gone(why_gone(&error)),
            }
        }
        Discarded::Some
    }

    /// Says that nothing more comes, and answers whether the other side can still hear it.
    pub(super) fn close_write(&self) -> bool {
        self.socket.shutdown(Shutdown::Write).is_ok()
    }

    /// Why the kernel gave the connection up.
    pub(super) fn why_failed(&self) -> &'static str {
        match self.socket.take_error() {
            Ok(Some(error)) => why_gone(&error),
            Ok(None) | Err(_) => "client left",
        }
    }

    /// Whether it was given nothing but its head, which goes out together with what comes first.
    pub(super) fn is_opening(&self) -> bool {
        matches!(&self.phase, Phase::CatchingUp(catching_up) if catching_up.lifecycle.is_opening())
    }

    /// Where bytes for this connection alone are added.
    pub(super) fn outgoing(&mut self) -> &mut Outgoing {
        self.outgoing.get_or_insert_default()
    }

    /// The earliest moment at which the connection has to be looked at.
    pub(super) fn next_timer(&self, write_timeout: u64) -> Tick {
        let stuck = if self.blocked { self.stuck_since.saturating_add(write_timeout) } else { NEVER };
        match &self.phase {
            Phase::CatchingUp(catching_up) => catching_up.lifecycle.next_at(&self.ends).min(stuck),
            Phase::Live(_) => self.ends.next().min(stuck),
            Phase::Ending { by, .. } => stuck.min(*by),
            Phase::Closing(at) => *at,
        }
    }
}

/// Writes what is for a client and moves its cursor on. Answers what was written and how much of it
/// there was.
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

/// What the log says of an error of a socket.
fn why_gone(error: &io::Error) -> &'static str {
    match error.kind() {
        // The peer let the keepalive or the user timeout pass.
        ErrorKind::TimedOut => "takes no bytes, or is gone",
        _ => "client left",
    }
}
