//! The sampled events in the buffer of a broadcast. Events that are not sampled cost nothing here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::broadcast::Broadcast;
use super::client::{BroadcastCursor, EngineClient, Phase};
use super::shard::Shard;
use tidings_event::{ConnectionId, EntryId, EventWatch, Frame, UserKey};
use tidings_hub::WATCH_TIME;

/// The time for which an event is kept that some clients lack. Its span ends before.
const KEPT: Duration = WATCH_TIME.saturating_mul(2);

/// A sampled event that some clients of a broadcast lack.
pub(super) struct OwedEvent {
    frame: Arc<Frame>,
    watch: Arc<EventWatch>,
    /// The cursor behind the event.
    end: u64,
    /// The number of clients that owe it.
    owing: usize,
    /// Every client had its turn, so those that owe it are behind.
    offered: bool,
    /// The place of the client after the one that the watch names as behind. Places before it are
    /// not searched again, so a crowd of slow clients costs one search in all.
    next: usize,
}

impl OwedEvent {
    /// Takes over the debt of the ring reader for the clients of a broadcast. `None` without
    /// clients.
    pub(super) fn new(frame: &Arc<Frame>, watch: &Arc<EventWatch>, end: u64, clients: usize) -> Option<Self> {
        watch.owe(clients);
        watch.release(1);
        let (frame, watch) = (Arc::clone(frame), Arc::clone(watch));
        (clients > 0).then_some(Self { frame, watch, end, owing: clients, offered: false, next: 0 })
    }

    /// Whether the event is for a user.
    fn is_for(&self, user: Option<UserKey>) -> bool {
        self.frame.audience().is_none_or(|to| user.is_some_and(|user| to.contains(user)))
    }

    /// Whether a client owes the event, and its span may still be open.
    fn is_open(&self) -> bool {
        self.owing > 0 && self.watch.began().elapsed() < KEPT
    }

    /// Notes that a client owes the event no more.
    fn settle(&mut self, is_delivered: bool, connection: Option<ConnectionId>) {
        self.owing = self.owing.saturating_sub(1);
        if is_delivered {
            self.watch.deliver(1, Instant::now(), connection);
        } else {
            self.watch.release(1);
        }
    }
}

impl Drop for OwedEvent {
    fn drop(&mut self) {
        self.watch.release(self.owing);
    }
}

impl Shard {
    /// Notes the end of a pass that began at `began_at`: each client that is not behind has the
    /// sampled events before that. Returns a durable one among them.
    pub(super) fn note_offered(&mut self, index: u32, began_at: u64) -> Option<(Arc<EventWatch>, EntryId)> {
        let Broadcast { watched, broadcast_clients, .. } = self.broadcasts.get_mut(index as usize)?;
        let now = Instant::now();
        let mut sampled = None;
        for watched in watched.iter_mut().filter(|watched| !watched.offered && watched.end <= began_at) {
            let (mut taken, mut last, mut behind, mut lacking) = (0, None, 0, None);
            for place in 0..broadcast_clients.len() {
                let client =
                    broadcast_clients.get(place).and_then(|number| self.clients.get(number as usize));
                let Some(EngineClient { phase: Phase::Broadcasting(cursor), .. }) = client else { continue };
                if cursor.cursor < watched.end {
                    behind += 1;
                    if lacking.is_none() {
                        (lacking, watched.next) = (client, place + 1);
                    }
                } else if watched.is_for(cursor.user) {
                    (taken, last) = (taken + 1, client);
                }
            }
            // Clients that joined meanwhile owe nothing.
            let settled = watched.owing.saturating_sub(behind);
            let delivered = taken.min(settled);
            if delivered > 0 {
                watched.watch.deliver(delivered, now, last.and_then(connection));
            }
            watched.watch.release(settled - delivered);
            watched.watch.note_behind(lacking.and_then(connection));
            (watched.owing, watched.offered) = (watched.owing - settled, true);
            let position = watched.frame.position();
            if position.live.is_none() {
                sampled = Some((Arc::clone(&watched.watch), position.entry));
            }
        }
        watched.retain(OwedEvent::is_open);
        sampled
    }

    /// Notes that a client which was behind got bytes up to its cursor.
    pub(super) fn note_progress(&mut self, number: u32, from: u64) {
        let Some(client) = self.clients.get(number as usize) else { return };
        let Phase::Broadcasting(cursor) = &client.phase else { return };
        let Some(broadcast) = self.broadcasts.get_mut(cursor.broadcast as usize) else { return };
        let id = connection(client);
        let passed =
            |watched: &&mut OwedEvent| watched.offered && from < watched.end && watched.end <= cursor.cursor;
        for watched in broadcast.watched.iter_mut().filter(passed) {
            watched.settle(watched.is_for(cursor.user), id);
            if watched.owing > 0 && watched.watch.behind() == id {
                let end = watched.end;
                let mut places = watched.next..broadcast.broadcast_clients.len();
                let lacking = places.find_map(|place| {
                    watched.next = place + 1;
                    let number = broadcast.broadcast_clients.get(place)?;
                    let client = self.clients.get(number as usize)?;
                    let lacks = matches!(&client.phase, Phase::Broadcasting(other) if other.cursor < end);
                    lacks.then(|| connection(client)).flatten()
                });
                watched.watch.note_behind(lacking);
            }
        }
        broadcast.watched.retain(OwedEvent::is_open);
    }
}

impl Broadcast {
    /// Notes that a client leaves with this cursor.
    pub(super) fn note_left(&mut self, cursor: &BroadcastCursor) {
        for watched in &mut self.watched {
            // A client that has the event may have joined after it was read, and owed nothing.
            if cursor.cursor < watched.end {
                watched.settle(false, None);
            }
        }
        self.watched.retain(OwedEvent::is_open);
    }
}

fn connection(client: &EngineClient) -> Option<ConnectionId> {
    client.stream_stats.as_ref().map(|stats| stats.stream_guard.id())
}
