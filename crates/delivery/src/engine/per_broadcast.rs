//! The work of a shard for a broadcast: it reads frames, and delivers them in passes through the
//! clients.

use super::broadcast::BroadcastRead;
use super::client::Phase;
use super::shard::Shard;
use tidings_event::control::ReconnectReason;

/// The most frames that a broadcast reads in a turn.
const FRAMES: usize = 256;

/// The most deliveries of a broadcast before the next broadcast's turn.
const DELIVERIES: usize = 64;

impl Shard {
    /// Queues a broadcast for reading.
    pub(super) fn read_later(&mut self, index: u32) {
        if let Some(broadcast) = self.broadcasts.get_mut(index as usize)
            && !broadcast.reading
        {
            broadcast.reading = true;
            self.reads.push_back(index);
        }
    }

    /// Reads new frames of a broadcast.
    pub(super) fn read(&mut self, index: u32) {
        let Some(broadcast) = self.broadcasts.get_mut(index as usize).filter(|broadcast| broadcast.reading)
        else {
            return;
        };
        broadcast.reading = false;
        broadcast.shard_waker.received();
        let before = broadcast.buffer.head();
        // While the buffer is full, a pass is under way, whose end frees space.
        let is_full = broadcast.buffer.is_full();
        let more = is_full || broadcast.read(FRAMES, &mut self.frames) == BroadcastRead::Some;
        let has_news = is_full || broadcast.closed.is_some() || broadcast.buffer.head() != before;
        if more {
            self.read_later(index);
        }
        if has_news {
            self.begin_pass(index);
        }
    }

    /// Begins a pass through the clients of a broadcast, unless one is under way.
    pub(super) fn begin_pass(&mut self, index: u32) {
        if let Some(broadcast) = self.broadcasts.get_mut(index as usize)
            && broadcast.pass.is_none()
        {
            broadcast.begin_pass();
            self.passes.push_back(index);
        }
    }

    /// Delivers to some clients of a broadcast; the rest follows in its next turn. Returns the
    /// number of deliveries.
    pub(super) fn deliver_some(&mut self, index: u32) -> usize {
        for delivered in 0..DELIVERIES {
            let Some(broadcast) = self.broadcasts.get_mut(index as usize) else { return delivered };
            let Some(began_at) = broadcast.pass else { return delivered };
            let Some(number) = broadcast.broadcast_clients.next_client() else {
                self.end_pass(index, began_at);
                return delivered;
            };
            let closed = broadcast.closed;
            self.deliver(number, index);
            if let Some(reason) = closed {
                self.end(number, reason);
            }
        }
        self.passes.push_back(index);
        DELIVERIES
    }

    /// Sends a client of a broadcast the bytes that it lacks, unless its socket takes none.
    fn deliver(&mut self, number: u32, index: u32) {
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        debug_assert!(
            matches!(&client.phase, Phase::Broadcasting(broadcast_cursor) if broadcast_cursor.broadcast == index)
        );
        debug_assert!(client.behind || client.outgoing.is_none(), "a pass would skip it");
        if client.behind {
            return;
        }
        if let Some(reason) = client.ends.due(self.now) {
            return self.end(number, reason);
        }
        self.send_broadcast(number);
    }

    /// Ends a pass in which every client had its turn. Frames beyond the bounds can be dropped; if
    /// every client has everything, all frames can.
    fn end_pass(&mut self, index: u32, began_at: u64) {
        let Some(broadcast) = self.broadcasts.get(index as usize) else { return };
        let sampled = if broadcast.watched.is_empty() { None } else { self.note_offered(index, began_at) };
        let Some(broadcast) = self.broadcasts.get_mut(index as usize) else { return };
        if let Some(oldest) = broadcast.end_pass() {
            let streams = &self.settings.streams;
            let sampled = sampled.as_ref().map(|(watch, entry)| (&**watch, *entry));
            streams.observe_delivery(streams.time_since(oldest), sampled);
        }
        broadcast.buffer.note_offered(began_at);
        if broadcast.buffer.head() > began_at {
            self.trim(index);
            self.begin_pass(index);
        } else if broadcast.behind == 0 {
            broadcast.clear();
        } else {
            self.trim(index);
        }
    }

    /// Keeps a buffer within its bounds.
    fn trim(&mut self, index: u32) {
        while let Some(begin) =
            self.broadcasts.get(index as usize).and_then(|broadcast| broadcast.buffer.excess())
        {
            self.drop_before(index, begin);
        }
    }

    /// Keeps the memory of all buffers within its bound. The largest buffer drops the older half of
    /// its frames, and then the next one that is the largest.
    pub(super) fn shed(&mut self) {
        while self.unsent.get() > self.unsent_max {
            let sizes =
                self.broadcasts.iter().map(|(index, broadcast)| (broadcast.buffer.held_bytes(), index));
            let Some((before, index)) = sizes.max() else { return };
            let Ok(index) = u32::try_from(index) else { return };
            let older =
                self.broadcasts.get(index as usize).and_then(|broadcast| broadcast.buffer.older_half());
            if let Some(begin) = older {
                self.drop_before(index, begin);
            }
            let Some(broadcast) = self.broadcasts.get_mut(index as usize) else { continue };
            broadcast.buffer.shrink();
            if broadcast.buffer.held_bytes() >= before {
                // A pass through its clients is under way. The next turn tries again.
                return;
            }
        }
    }

    /// Drops the frames of a buffer before `begin`. A client that lacks some of them is too slow
    /// and gets `tidings.reconnect`.
    fn drop_before(&mut self, index: u32, begin: u64) {
        let Some(broadcast) = self.broadcasts.get(index as usize) else { return };
        let mut place = if broadcast.behind == 0 { 0 } else { broadcast.broadcast_clients.len() };
        // From the end, because a removed client is replaced by one that was checked already.
        while place > 0 {
            place -= 1;
            let number = self
                .broadcasts
                .get(index as usize)
                .and_then(|broadcast| broadcast.broadcast_clients.get(place));
            if let Some(number) = number
                && self.lacks(number, begin)
            {
                // Its socket may take bytes again since the last attempt.
                self.flush(number);
                if self.lacks(number, begin) {
                    self.end(number, ReconnectReason::Lagging);
                }
            }
        }
        // The last client may be gone, and the broadcast with it.
        if let Some(broadcast) = self.broadcasts.get_mut(index as usize) {
            broadcast.buffer.drop_before(begin);
        }
    }

    /// Whether a client of a broadcast lacks bytes before a cursor.
    fn lacks(&self, number: u32, begin: u64) -> bool {
        self.clients
            .get(number as usize)
            .is_some_and(|client| matches!(&client.phase, Phase::Broadcasting(broadcast_cursor) if broadcast_cursor.cursor < begin))
    }
}
