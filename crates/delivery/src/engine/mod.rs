//! The engine: streams over HTTP/1.1 without TLS, whose sockets were taken from hyper with the
//! response head complete. A few threads write shared bytes to them without a copy for each client.
//!
//! A stream begins with a subscriber of its own. Once it has every event of its node, it becomes a
//! cursor into the `BroadcastBuffer` of its workspace on its shard. An event is then added to the
//! buffer once. Each client gets the bytes between its cursor and the end, with one call.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`shard`] | one thread: its turns and the messages that it receives |
//! | [`per_client`] | the work of a shard for one connection |
//! | [`per_broadcast`] | the work of a shard for one broadcast |
//! | [`client`] | a connection: its socket and its phase |
//! | [`catching_up`] | the first part of a stream, with a subscriber of its own |
//! | [`outgoing`] | the bytes for one connection alone |
//! | [`broadcast`] | a buffer with its clients and its ring reader |
//! | [`broadcast_buffer`] | the recent frames of a workspace as bytes on the wire |
//! | [`owed_event`] | the sampled events in such a buffer, and the clients that lack them |
//! | [`broadcast_clients`] | the clients of a broadcast and the pass through them |
//! | [`heartbeat_wheel`], [`timers`] | heartbeats and other deadlines |
//! | [`listing`], [`event_streams`] | the streams of a workspace, and of an event, for operators |
//! | [`shard_sender`], [`handoff`] | the messages to a shard, and the handoff of a stream |
//! | [`chunk`], [`counts`] | the framing of bodies, and counts for the metrics |

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::sync::Arc;
use std::time::Duration;

mod broadcast;
mod broadcast_buffer;
mod broadcast_clients;
mod catching_up;
mod chunk;
mod client;
mod counts;
mod event_streams;
mod handoff;
mod heartbeat_wheel;
mod listing;
mod outgoing;
mod owed_event;
mod per_broadcast;
mod per_client;
mod shard;
mod shard_sender;
mod timers;

pub use broadcast_buffer::BroadcastBounds;
pub use handoff::{ConnectionGuards, Handoff, PendingStream};
pub use shard::Shard;

use super::StreamSettings;
use shard_sender::{ShardMessage, ShardSender};

#[cfg(test)]
mod tests;

/// Up to this many clients of a workspace share a shard before the next ones go to another. So a
/// small workspace needs one buffer, and all shards write a large one.
const CLIENTS_PER_SHARD: usize = 512;

/// The settings that the shards of an engine share.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The settings that all streams share.
    pub streams: Arc<StreamSettings>,
    /// The time for which a client may take none of its pending bytes.
    pub write_timeout: Duration,
    /// The bounds of a buffer.
    pub bounds: BroadcastBounds,
    /// The memory of all buffers, in bytes. Each shard has an equal share.
    pub unsent_bytes: usize,
}

impl EngineSettings {
    fn write_timeout_ms(&self) -> u64 {
        crate::until::millis(self.write_timeout)
    }
}

/// The senders of all shards.
#[derive(Debug)]
pub struct Engine {
    shards: Vec<Arc<ShardSender>>,
}

impl Engine {
    /// Creates an engine with this number of shards (at least 1); each is run on a thread of its
    /// own.
    ///
    /// # Errors
    ///
    /// If the system has no polls left.
    pub fn new(shards: usize, settings: &EngineSettings) -> io::Result<(Self, Vec<Shard>)> {
        let shards = shards.max(1);
        let unsent_max = settings.unsent_bytes / shards;
        let shards: Vec<_> =
            (0..shards).map(|_| Shard::new(settings.clone(), unsent_max)).collect::<Result<_, _>>()?;
        Ok((Self { shards: shards.iter().map(Shard::shard_sender).collect() }, shards))
    }

    /// Accepts a stream.
    pub fn open(&self, handoff: Handoff) {
        let subscriber = &handoff.pending_stream.subscriber;
        let mut hasher = DefaultHasher::new();
        subscriber.workspace().hash(&mut hasher);
        let home = usize::try_from(hasher.finish() % self.shards.len() as u64).unwrap_or_default();
        let shard = (home + subscriber.subscriber_count() / CLIENTS_PER_SHARD) % self.shards.len();
        self.shards[shard].send(ShardMessage::Open(Box::new(handoff)));
    }

    /// Pings each shard that has received the ping before. Returns the number of the others: they
    /// have made no progress since then. So at most one ping is on its way to a shard.
    pub fn ping(&self) -> usize {
        self.shards.iter().filter(|shard| !shard.ping()).count()
    }

    /// Begins the drain of the streams on all shards.
    pub fn drain(&self) {
        self.send_all(|| ShardMessage::Drain);
    }

    /// Aborts every remaining stream.
    pub fn abandon(&self) {
        self.send_all(|| ShardMessage::Abandon);
    }

    /// Ends the shards.
    pub fn stop(&self) {
        self.send_all(|| ShardMessage::Stop);
    }

    fn send_all(&self, message: impl Fn() -> ShardMessage) {
        self.shards.iter().for_each(|shard| shard.send(message()));
    }
}
