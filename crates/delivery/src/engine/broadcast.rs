//! A broadcast: the buffer that many clients of a shard share, and its ring reader.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::broadcast_buffer::BroadcastBuffer;
use super::broadcast_clients::BroadcastClients;
use super::chunk;
use super::owed_event::OwedEvent;
use super::shard_sender::ShardWaker;
use crate::TracedEvent;
use tidings_event::control;
use tidings_event::control::ReconnectReason;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Frame, Position};
use tidings_hub::Tick;
use tidings_hub::{RingRead, RingReader};

/// The rest of a frame is copied for each client up to this size, and shared beyond it.
const COPIED_BYTES: usize = 1024;

/// The key of a broadcast: a workspace, in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BroadcastKey {
    pub(super) workspace: WorkspaceId,
    pub(super) named: bool,
}

/// A buffer with its clients. It exists as long as it has some.
pub(super) struct Broadcast {
    pub(super) key: BroadcastKey,
    pub(super) buffer: BroadcastBuffer,
    pub(super) broadcast_clients: BroadcastClients,
    /// The number of clients that lack bytes and are skipped by passes, because their sockets take
    /// no more for now.
    pub(super) behind: usize,
    /// It is in the queue of broadcasts to read.
    pub(super) reading: bool,
    /// The head at which the current pass began; such a broadcast is in the queue of passes.
    pub(super) pass: Option<u64>,
    /// The time of the oldest durable event in the buffer that no pass has begun with, in
    /// milliseconds since 1970; `u64::MAX` without one.
    unoffered: u64,
    /// The same of the current pass.
    offering: u64,
    /// No frame follows, and every client gets `tidings.reconnect` with this reason.
    pub(super) closed: Option<ReconnectReason>,
    pub(super) shard_waker: Arc<ShardWaker>,
    /// The sampled events that some clients lack; mostly none.
    pub(super) watched: Vec<OwedEvent>,
    ring_reader: RingReader,
    heartbeat: EncodedHeartbeat,
    rest: Option<(u64, Bytes)>,
}

/// The last encoded heartbeat.
#[derive(Default)]
struct EncodedHeartbeat {
    /// Its time, and its place in the ring.
    of: (Tick, u64),
    bytes: Vec<u8>,
    /// Its length without framing.
    length: usize,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BroadcastRead {
    /// All frames were read.
    All,
    /// More frames may follow.
    Some,
}

impl Broadcast {
    /// Creates a broadcast with an empty buffer. It begins at the cursor of the ring reader.
    pub(super) fn new(
        key: BroadcastKey,
        buffer: BroadcastBuffer,
        ring_reader: RingReader,
        shard_waker: Arc<ShardWaker>,
    ) -> Self {
        Self {
            key,
            buffer,
            broadcast_clients: BroadcastClients::default(),
            behind: 0,
            reading: false,
            pass: None,
            unoffered: u64::MAX,
            offering: u64::MAX,
            closed: None,
            shard_waker,
            watched: Vec::new(),
            ring_reader,
            heartbeat: EncodedHeartbeat::default(),
            rest: None,
        }
    }

    /// Whether clients may join.
    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none() && !self.buffer.is_full()
    }

    /// Reads at most `most` frames from the ring, into `scratch` and from there into the buffer.
    pub(super) fn read(&mut self, most: usize, scratch: &mut Vec<Arc<Frame>>) -> BroadcastRead {
        if self.closed.is_some() {
            return BroadcastRead::All;
        }
        let waker = self.shard_waker.waker();
        let outcome = self.ring_reader.poll_frames(&Context::from_waker(&waker), most, scratch);
        for frame in scratch.drain(..) {
            let position = frame.position();
            if frame.is_application() && position.live.is_none() {
                self.unoffered = self.unoffered.min(position.entry.milliseconds);
            }
            self.buffer.append(&frame);
            if let Some(watch) = frame.watch() {
                let (end, clients) = (self.buffer.head(), self.broadcast_clients.len());
                self.watched.extend(OwedEvent::new(&frame, watch, end, clients));
            }
        }
        match outcome {
            Poll::Ready(RingRead::Frames) => return BroadcastRead::Some,
            Poll::Ready(RingRead::Lagging) => self.closed = Some(ReconnectReason::Lagging),
            Poll::Ready(RingRead::Unavailable) => self.closed = Some(ReconnectReason::Unavailable),
            Poll::Pending => {}
        }
        BroadcastRead::All
    }

    /// The position after the last frame in the buffer.
    pub(super) fn position(&self) -> Position {
        *self.ring_reader.position()
    }

    /// The end in the buffer of the frame with this number in the ring. It is 0 once every client
    /// has the frame, and `None` if the broadcast has not read it.
    pub(super) fn end_of(&self, number: u64) -> Option<u64> {
        let after = self.ring_reader.cursor().checked_sub(number).filter(|&after| after > 0)?;
        Some(self.buffer.end_of_newest(after).unwrap_or(0))
    }

    /// The end of a traced event in the buffer, which the cursors of clients that have it reach. It
    /// is 0 once every client has the event, and [`u64::MAX`] if the broadcast has not read it.
    pub(super) fn end_of_traced(&self, event: &TracedEvent) -> u64 {
        if let Some(number) = event.number() {
            return self.end_of(number).unwrap_or(u64::MAX);
        }
        // The buffer may hold frames that the ring has dropped.
        self.buffer.end_of_event(&event.position).unwrap_or_else(|| {
            let (cursor, position) = (self.ring_reader.cursor(), self.ring_reader.position());
            if event.is_past(Some(cursor), Some(position)) { 0 } else { u64::MAX }
        })
    }

    /// Begins a pass through all clients, with all frames in the buffer.
    pub(super) fn begin_pass(&mut self) {
        self.pass = Some(self.buffer.head());
        self.offering = std::mem::replace(&mut self.unoffered, u64::MAX);
        self.broadcast_clients.begin_pass();
    }

    /// Ends a pass. Returns the time of the oldest durable event that it has offered, in
    /// milliseconds since 1970, if there was one.
    pub(super) fn end_pass(&mut self) -> Option<u64> {
        self.pass = None;
        Some(std::mem::replace(&mut self.offering, u64::MAX)).filter(|&oldest| oldest < u64::MAX)
    }

    /// Reads up to a cursor in the ring. Returns whether the broadcast is there now.
    pub(super) fn read_up_to(&mut self, cursor: u64, scratch: &mut Vec<Arc<Frame>>) -> bool {
        while let Some(missing) = cursor.checked_sub(self.ring_reader.cursor()).filter(|&missing| missing > 0)
        {
            let most = usize::try_from(missing).unwrap_or(usize::MAX);
            if self.read(most, scratch) == BroadcastRead::All || self.buffer.is_full() {
                break;
            }
        }
        self.ring_reader.cursor() == cursor && self.is_open()
    }

    /// The heartbeat for a client that has every event, and its length without framing. It is
    /// encoded once for all clients of the same time.
    pub(super) fn heartbeat(&mut self, now: Tick) -> (&[u8], usize) {
        // Events may arrive within a tick. With an older position, a client would get them twice
        // after it resumes.
        let of = (now, self.ring_reader.cursor());
        let heartbeat = &mut self.heartbeat;
        if heartbeat.of != of || heartbeat.bytes.is_empty() {
            heartbeat.of = of;
            heartbeat.bytes.clear();
            let frame = control::heartbeat(Some(self.ring_reader.position()), self.ring_reader.is_live());
            chunk::put(&mut heartbeat.bytes, &frame);
            heartbeat.length = frame.len();
        }
        (&heartbeat.bytes, heartbeat.length)
    }

    /// The rest of the frame in whose middle a cursor is. Clients share a large one.
    pub(super) fn rest_of_frame(&mut self, cursor: u64) -> Bytes {
        let rest = self.buffer.rest_of_frame(cursor);
        if rest.len() <= COPIED_BYTES {
            return Bytes::copy_from_slice(rest);
        }
        let end = cursor + rest.len() as u64;
        if let Some((_, shared)) =
            self.rest.as_ref().filter(|(of, shared)| *of == end && shared.len() >= rest.len())
        {
            return shared.slice(shared.len() - rest.len()..);
        }
        let whole = Bytes::copy_from_slice(self.buffer.whole_frame(cursor));
        let shared = whole.slice(whole.len() - rest.len()..);
        self.rest = Some((end, whole));
        shared
    }

    /// Drops every frame, because each client has them.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.rest = None;
    }
}
