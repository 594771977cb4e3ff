//! The work of a shard for one connection.

use super::broadcast::{Broadcast, BroadcastKey};
use super::broadcast_buffer::BroadcastBuffer;
use super::catching_up::Filled;
use super::chunk;
use super::client::{BroadcastCursor, Discarded, EngineClient, Phase, Sent};
use super::shard::{LINGER_MS, Shard};
use super::shard_sender::{ShardWaker, WakerOf};
use crate::settings::END_GRACE;
use crate::until::millis;
use tidings_event::control::ReconnectReason;
use tidings_hub::NEVER;

/// A stream that is younger than this share of the heartbeat interval needs no heartbeat yet.
const NEW_SHARE: f64 = 0.1;

/// How often a connection is filled and flushed before the next connection's turn.
const FILLS: usize = 4;

impl Shard {
    /// Queues a connection for its turn.
    pub(super) fn enqueue(&mut self, number: u32) {
        if let Some(client) = self.clients.get_mut(number as usize)
            && !client.queued
        {
            client.queued = true;
            self.ready.push_back(number);
        }
    }

    /// Does the work of one connection: discards the bytes that it sent, and sends the bytes that
    /// it lacks.
    pub(super) fn flush(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        client.queued = false;
        if client.unread {
            match client.discard(&mut self.scratch) {
                Discarded::All => client.unread = false,
                Discarded::Some => self.enqueue(number),
                Discarded::Gone(why) => return self.remove(number, why),
            }
        }
        if self.clients.get(number as usize).is_some_and(EngineClient::is_opening)
            && let Filled::End(reason) = self.fill(number)
        {
            self.end(number, reason);
        }
        for _ in 0..FILLS {
            let Some(client) = self.clients.get_mut(number as usize) else { return };
            if client.blocked {
                return;
            }
            match client.send_own(self.now, &mut self.counts) {
                Sent::All => {}
                Sent::Blocked => return self.fall_behind(number),
                Sent::Gone(why) => return self.remove(number, why),
            }
            match &mut client.phase {
                Phase::CatchingUp(_) => match self.fill(number) {
                    Filled::Some => {}
                    Filled::End(reason) => self.end(number, reason),
                    Filled::Nothing if self.join(number) => {}
                    Filled::Nothing => {
                        if let Some(client) = self.clients.get_mut(number as usize) {
                            // The buffer is empty, and the next event may be far off.
                            client.outgoing.take_if(|outgoing| outgoing.is_large());
                        }
                        return self.set_timer(number);
                    }
                },
                Phase::Broadcasting(_) => return self.send_broadcast(number),
                Phase::Ending { .. } => return self.close(number),
                Phase::Closing(_) => return,
            }
        }
        self.enqueue(number);
    }

    fn fill(&mut self, number: u32) -> Filled {
        let Some(client) = self.clients.get_mut(number as usize) else { return Filled::Nothing };
        let EngineClient {
            phase: Phase::CatchingUp(catching_up),
            stream_stats: Some(stream_stats),
            outgoing,
            ends,
            ..
        } = client
        else {
            return Filled::Nothing;
        };
        let out = outgoing.get_or_insert_default().end();
        catching_up.fill(self.now, ends, &self.settings.streams, stream_stats, &mut self.counts, out)
    }

    /// Sends a client of a broadcast the bytes that it lacks.
    pub(super) fn send_broadcast(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        let Phase::Broadcasting(broadcast_cursor) = &client.phase else { return };
        let Some(broadcast) = self.broadcasts.get_mut(broadcast_cursor.broadcast as usize) else { return };
        let (index, from) = (broadcast_cursor.broadcast, broadcast_cursor.cursor);
        let sent = client.send_broadcast(&broadcast.buffer, self.now, &mut self.counts);
        let was_behind = client.behind;
        match sent {
            Sent::All if client.behind => {
                client.behind = false;
                broadcast.behind -= 1;
                self.counts.behind -= 1;
                // It may have been the last client for which bytes were kept.
                if broadcast.behind == 0 {
                    self.begin_pass(index);
                }
            }
            Sent::All => {}
            Sent::Blocked => self.fall_behind(number),
            Sent::Gone(why) => self.remove(number, why),
        }
        if was_behind {
            self.note_progress(number, from);
        }
    }

    /// Notes that the socket of a connection takes no more bytes for now.
    fn fall_behind(&mut self, number: u32) {
        if let Some(client) = self.clients.get_mut(number as usize)
            && let Phase::Broadcasting(broadcast_cursor) = &client.phase
            && !client.behind
            && let Some(broadcast) = self.broadcasts.get_mut(broadcast_cursor.broadcast as usize)
        {
            client.behind = true;
            broadcast.behind += 1;
            self.counts.behind += 1;
        }
        self.set_timer(number);
    }

    /// Moves a client that has every event into the broadcast of its workspace. Returns whether it
    /// is there now.
    fn join(&mut self, number: u32) -> bool {
        let Some(client) = self.clients.get_mut(number as usize) else { return false };
        let Phase::CatchingUp(catching_up) = &client.phase else { return false };
        let subscriber = &catching_up.subscriber;
        let Some(cursor) = subscriber.ring_cursor().filter(|_| subscriber.filter().types.is_none()) else {
            return false;
        };
        let key =
            BroadcastKey { workspace: subscriber.workspace().clone(), named: subscriber.filter().named };
        let is_new = !self.broadcast_of.contains_key(&key);
        let index = match self.broadcast_of.get(&key) {
            Some(&index) => index,
            None => {
                let Some(ring_reader) = subscriber.ring_reader() else { return false };
                let entry = self.broadcasts.vacant_entry();
                let Ok(index) = u32::try_from(entry.key()) else { return false };
                let shard_waker = ShardWaker::new(&self.shard_sender, WakerOf::Broadcast(index));
                let buffer = BroadcastBuffer::new(key.named, self.settings.bounds, self.unsent.clone());
                entry.insert(Broadcast::new(key.clone(), buffer, ring_reader, shard_waker));
                self.broadcast_of.insert(key, index);
                index
            }
        };
        let Some(broadcast) = self.broadcasts.get_mut(index as usize) else { return false };
        let before = broadcast.buffer.head();
        let has_reached = broadcast.read_up_to(cursor, &mut self.frames);
        let has_news = broadcast.buffer.head() > before;
        if has_reached && let Some(client) = self.clients.get_mut(number as usize) {
            let place = broadcast.broadcast_clients.add(number);
            let phase = std::mem::replace(&mut client.phase, Phase::Ending { _guard: None, by: NEVER });
            // The buffer is empty, and from here on nothing is added.
            client.outgoing = None;
            if let Phase::CatchingUp(catching_up) = phase {
                let user = catching_up.subscriber.filter().user;
                client.phase = Phase::Broadcasting(BroadcastCursor {
                    broadcast: index,
                    index: u32::try_from(place).unwrap_or(u32::MAX),
                    cursor: broadcast.buffer.head(),
                    user,
                    subscription_guard: catching_up.subscriber.into_guard(),
                });
            }
        }
        if has_news {
            self.begin_pass(index);
        }
        if is_new {
            // The ring reader does not wait yet.
            self.read_later(index);
        }
        self.drop_if_empty(index);
        has_reached
    }

    /// Sends a connection its heartbeat, unless other bytes are on their way to it.
    pub(super) fn heartbeat_to(&mut self, number: u32) {
        let soon = self.settings.streams.heartbeat.mul_f64(NEW_SHARE);
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        if client.stream_stats.as_ref().is_none_or(|stream_stats| stream_stats.age() < soon)
            || client.blocked
            || client.outgoing.as_ref().is_some_and(|outgoing| !outgoing.is_empty())
        {
            return;
        }
        let sent = match client {
            EngineClient {
                phase: Phase::CatchingUp(catching_up),
                stream_stats: Some(stream_stats),
                outgoing,
                ..
            } => {
                catching_up.heartbeat(stream_stats, &mut self.counts, outgoing.get_or_insert_default().end());
                client.send_own(self.now, &mut self.counts)
            }
            EngineClient {
                phase: Phase::Broadcasting(broadcast_cursor),
                stream_stats: Some(stream_stats),
                ..
            } => {
                let Some(broadcast) = self.broadcasts.get_mut(broadcast_cursor.broadcast as usize) else {
                    return;
                };
                if broadcast_cursor.cursor != broadcast.buffer.head() {
                    return;
                }
                let (bytes, length) = broadcast.heartbeat(self.now);
                stream_stats.bytes += length as u64;
                self.counts.bytes += length as u64;
                client.send_shared(bytes, self.now, &mut self.counts)
            }
            _ => return,
        };
        match sent {
            Sent::All => {}
            Sent::Blocked => self.fall_behind(number),
            Sent::Gone(why) => self.remove(number, why),
        }
    }

    /// Ends a stream with `tidings.reconnect`. Bytes that wait for this client alone are sent
    /// before it, and a frame that was sent in part is completed.
    pub(super) fn end(&mut self, number: u32, reason: ReconnectReason) {
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        if matches!(client.phase, Phase::Ending { .. } | Phase::Closing(_)) {
            return;
        }
        let streams = &self.settings.streams;
        let message = streams.last_frame(reason);
        let phase = std::mem::replace(&mut client.phase, Phase::Ending { _guard: None, by: NEVER });
        let is_behind = std::mem::take(&mut client.behind);
        if let Phase::Broadcasting(broadcast_cursor) = &phase
            && let Some(broadcast) = self.broadcasts.get_mut(broadcast_cursor.broadcast as usize)
        {
            let rest = broadcast.rest_of_frame(broadcast_cursor.cursor);
            if !rest.is_empty() {
                client.outgoing().put_first(rest);
            }
        }
        if let Some(stream_stats) = &mut client.stream_stats {
            stream_stats.ended(reason);
            let out = client.outgoing.get_or_insert_default().end();
            self.counts.give(stream_stats, out, &message);
            out.extend_from_slice(chunk::LAST);
        }
        let subscription_guard = match phase {
            Phase::CatchingUp(catching_up) => Some(catching_up.subscriber.into_guard()),
            Phase::Broadcasting(broadcast_cursor) => {
                self.leave(&broadcast_cursor, is_behind);
                Some(broadcast_cursor.subscription_guard)
            }
            Phase::Ending { .. } | Phase::Closing(_) => None,
        };
        if let Some(client) = self.clients.get_mut(number as usize) {
            let by = self.now.saturating_add(millis(END_GRACE));
            client.phase = Phase::Ending { _guard: subscription_guard, by };
        }
        self.set_timer(number);
        self.enqueue(number);
    }

    /// Closes the writing side after the last byte. It waits briefly for the client to close too,
    /// so that a TCP reset does not destroy bytes on their way.
    fn close(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        // The stream has ended, so it no longer counts as open.
        client.stream_stats = None;
        client.outgoing = None;
        client.phase = Phase::Closing(self.now + LINGER_MS);
        if client.close_write() {
            self.set_timer(number);
        } else {
            self.remove(number, "client left");
        }
    }

    /// Removes a connection.
    pub(super) fn remove(&mut self, number: u32, why: &'static str) {
        let Some(mut client) = self.clients.try_remove(number as usize) else { return };
        if let Some(mut stream_stats) = client.stream_stats.take() {
            stream_stats.abort(why);
        }
        let is_behind = client.behind;
        if let Phase::Broadcasting(broadcast_cursor) =
            std::mem::replace(&mut client.phase, Phase::Ending { _guard: None, by: NEVER })
        {
            self.leave(&broadcast_cursor, is_behind);
        }
        self.settings.streams.metrics.handed_off.dec();
    }

    /// Removes a client from its broadcast.
    fn leave(&mut self, broadcast_cursor: &BroadcastCursor, is_behind: bool) {
        let Some(broadcast) = self.broadcasts.get_mut(broadcast_cursor.broadcast as usize) else { return };
        if !broadcast.watched.is_empty() {
            broadcast.note_left(broadcast_cursor);
        }
        broadcast.behind -= usize::from(is_behind);
        self.counts.behind -= usize::from(is_behind);
        for (moved, place) in
            broadcast.broadcast_clients.remove(broadcast_cursor.index as usize).into_iter().flatten()
        {
            if let Some(EngineClient { phase: Phase::Broadcasting(moved), .. }) =
                self.clients.get_mut(moved as usize)
            {
                moved.index = u32::try_from(place).unwrap_or(u32::MAX);
            }
        }
        if is_behind && broadcast.behind == 0 {
            self.begin_pass(broadcast_cursor.broadcast);
        }
        self.drop_if_empty(broadcast_cursor.broadcast);
    }

    /// Drops a broadcast without clients.
    fn drop_if_empty(&mut self, index: u32) {
        if self.broadcasts.get(index as usize).is_some_and(|broadcast| broadcast.broadcast_clients.is_empty())
        {
            let broadcast = self.broadcasts.remove(index as usize);
            self.broadcast_of.remove(&broadcast.key);
        }
    }
}
