//! What a shard does for a log: it reads, and goes in rounds through those who have not got what
//! was read.

use super::broadcast::BroadcastRead;
use super::client::Phase;
use super::shard::Shard;
use tidings_event::control::ReconnectReason;

/// How many frames a log reads in a turn.
const FRAMES: usize = 256;

/// How many clients of a log are visited before it is another log's turn.
const DELIVERIES: usize = 64;

impl Shard {
    /// Has a log read in its turn.
    pub(super) fn read_later(&mut self, index: u32) {
        if let Some(log) = self.broadcasts.get_mut(index as usize)
            && !log.reading
        {
            log.reading = true;
            self.reads.push_back(index);
        }
    }

    /// Reads what came for a log.
    pub(super) fn read(&mut self, index: u32) {
        let Some(log) = self.broadcasts.get_mut(index as usize).filter(|log| log.reading) else { return };
        log.reading = false;
        log.client_waker.received();
        let before = log.buffer.head();
        // While it is full a round is under way, at whose end there is room.
        let is_full = log.buffer.is_full();
        let more = is_full || log.read(FRAMES, &mut self.frames) == BroadcastRead::Some;
        let has_news = is_full || log.closed.is_some() || log.buffer.head() != before;
        if more {
            self.read_later(index);
        }
        if has_news {
            self.begin_pass(index);
        }
    }

    /// Begins a round through the clients of a log, unless one is under way.
    pub(super) fn begin_pass(&mut self, index: u32) {
        if let Some(log) = self.broadcasts.get_mut(index as usize)
            && log.pass.is_none()
        {
            log.pass = Some(log.buffer.head());
            log.broadcast_cursors.begin_pass();
            self.passes.push_back(index);
        }
    }

    /// Visits some clients of a log, and goes on with it in its next turn if that was not all.
    /// Answers how many.
    pub(super) fn deliver_some(&mut self, index: u32) -> usize {
        for delivered in 0..DELIVERIES {
            let Some(log) = self.broadcasts.get_mut(index as usize) else { return delivered };
            let Some(began_at) = log.pass else { return delivered };
            let Some(number) = log.broadcast_cursors.deliver() else {
                self.end_pass(index, began_at);
                return delivered;
            };
            let closed = log.closed;
            self.deliver(number, index);
            if let Some(reason) = closed {
                self.end(number, reason);
            }
        }
        self.passes.push_back(index);
        DELIVERIES
    }

    /// Offers a client of a log what it has not got, unless its socket takes nothing.
    fn deliver(&mut self, number: u32, index: u32) {
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        debug_assert!(
            matches!(&client.phase, Phase::Live(broadcast_cursor) if broadcast_cursor.log == index)
        );
        debug_assert!(client.behind || client.outgoing.is_none(), "a round would leave it out");
        if client.behind {
            return;
        }
        if let Some(reason) = client.ends.due(self.now) {
            return self.end(number, reason);
        }
        self.send_broadcast(number);
    }

    /// Every client had its turn: what is beyond the bounds can be cut, and if all have everything,
    /// everything can.
    fn end_pass(&mut self, index: u32, began_at: u64) {
        let Some(log) = self.broadcasts.get_mut(index as usize) else { return };
        log.pass = None;
        log.buffer.note_offered(began_at);
        if log.buffer.head() > began_at {
            self.trim(index);
            self.begin_pass(index);
        } else if log.behind == 0 {
            log.clear();
        } else {
            self.trim(index);
        }
    }

    /// Keeps a log within its bounds. Who has not got what is cut is too slow, and is told so.
    fn trim(&mut self, index: u32) {
        while let Some(begin) = self.broadcasts.get(index as usize).and_then(|log| log.buffer.excess()) {
            let Some(log) = self.broadcasts.get(index as usize) else { return };
            let mut place = if log.behind == 0 { 0 } else { log.broadcast_cursors.len() };
            // From the end, since whoever is taken out is replaced by one that was looked at
            // already.
            while place > 0 {
                place -= 1;
                let number =
                    self.broadcasts.get(index as usize).and_then(|log| log.broadcast_cursors.get(place));
                if let Some(number) = number
                    && self.lacks(number, begin)
                {
                    // Its socket may take bytes again since it was tried.
                    self.flush(number);
                    if self.lacks(number, begin) {
                        self.end(number, ReconnectReason::Lagging);
                    }
                }
            }
            match self.broadcasts.get_mut(index as usize) {
                Some(log) => log.buffer.abort(begin),
                None => return,
            }
        }
    }

    /// Whether a client of a log has not got everything before a place.
    fn lacks(&self, number: u32, begin: u64) -> bool {
        self.clients
            .get(number as usize)
            .is_some_and(|client| matches!(&client.phase, Phase::Live(broadcast_cursor) if broadcast_cursor.cursor < begin))
    }
}
