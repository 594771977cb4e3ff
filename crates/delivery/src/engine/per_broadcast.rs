//! What a shard does for a log: it reads, and goes in rounds through those who have not got what was read.

use super::broadcast::BroadcastRead;
use super::client::Phase;
use super::shard::Shard;
use tidings_event::control::ReconnectReason;

/// How many frames a log reads in a turn.
const FRAMES: usize = 256;

/// How many clients of a log are visited before it is another log's turn.
const VISITS: usize = 64;

impl Shard {
    /// Has a log read in its turn.
    pub(super) fn read_later(&mut self, index: u32) {
        if let Some(log) = self.logs.get_mut(index as usize)
            && !log.reading
        {
            log.reading = true;
            self.reads.push_back(index);
        }
    }

    /// Reads what came for a log.
    pub(super) fn read(&mut self, index: u32) {
        let Some(log) = self.logs.get_mut(index as usize).filter(|log| log.reading) else { return };
        log.reading = false;
        log.client_waker.heard();
        let before = log.wire.head();
        // While it is full a round is under way, at whose end there is room.
        let is_full = log.wire.is_full();
        let more = is_full || log.read(FRAMES, &mut self.frames) == BroadcastRead::Some;
        let has_news = is_full || log.closed.is_some() || log.wire.head() != before;
        if more {
            self.read_later(index);
        }
        if has_news {
            self.begin_round(index);
        }
    }

    /// Begins a round through the clients of a log, unless one is under way.
    pub(super) fn begin_round(&mut self, index: u32) {
        if let Some(log) = self.logs.get_mut(index as usize)
            && log.round.is_none()
        {
            log.round = Some(log.wire.head());
            log.broadcast_cursors.begin_round();
            self.rounds.push_back(index);
        }
    }

    /// Visits some clients of a log, and goes on with it in its next turn if that was not all. Answers how many.
    pub(super) fn visit_some(&mut self, index: u32) -> usize {
        for visited in 0..VISITS {
            let Some(log) = self.logs.get_mut(index as usize) else { return visited };
            let Some(began_at) = log.round else { return visited };
            let Some(number) = log.broadcast_cursors.visit() else {
                self.end_round(index, began_at);
                return visited;
            };
            let closed = log.closed;
            self.visit(number, index);
            if let Some(reason) = closed {
                self.end(number, reason);
            }
        }
        self.rounds.push_back(index);
        VISITS
    }

    /// Offers a client of a log what it has not got, unless its socket takes nothing.
    fn visit(&mut self, number: u32, index: u32) {
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        debug_assert!(
            matches!(&client.phase, Phase::Shared(broadcast_cursor) if broadcast_cursor.log == index)
        );
        debug_assert!(client.behind || client.outgoing.is_none(), "a round would leave it out");
        if client.behind {
            return;
        }
        if let Some(reason) = client.ends.due(self.now) {
            return self.end(number, reason);
        }
        self.send_log(number);
    }

    /// Every client had its turn: what is beyond the bounds can be cut, and if all have everything, everything can.
    fn end_round(&mut self, index: u32, began_at: u64) {
        let Some(log) = self.logs.get_mut(index as usize) else { return };
        log.round = None;
        log.wire.note_offered(began_at);
        if log.wire.head() > began_at {
            self.trim(index);
            self.begin_round(index);
        } else if log.behind == 0 {
            log.clear();
        } else {
            self.trim(index);
        }
    }

    /// Keeps a log within its bounds. Who has not got what is cut is too slow, and is told so.
    fn trim(&mut self, index: u32) {
        while let Some(begin) = self.logs.get(index as usize).and_then(|log| log.wire.excess()) {
            let Some(log) = self.logs.get(index as usize) else { return };
            let mut place = if log.behind == 0 { 0 } else { log.broadcast_cursors.len() };
            // From the end, since whoever is taken out is replaced by one that was looked at already.
            while place > 0 {
                place -= 1;
                let number = self.logs.get(index as usize).and_then(|log| log.broadcast_cursors.get(place));
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
            match self.logs.get_mut(index as usize) {
                Some(log) => log.wire.cut(begin),
                None => return,
            }
        }
    }

    /// Whether a client of a log has not got everything before a place.
    fn lacks(&self, number: u32, begin: u64) -> bool {
        self.clients
            .get(number as usize)
            .is_some_and(|client| matches!(&client.phase, Phase::Shared(broadcast_cursor) if broadcast_cursor.cursor < begin))
    }
}
