//! The engine: streams over HTTP/1.1 in the clear, whose sockets were taken out of hyper when the
//! head of the answer was complete. A few threads write to them what many share, straight from
//! where it stands.
//!
//! A stream begins as one of its own, with its own subscriber. When it has everything that its node
//! has, it becomes a number: its place in the log that all clients of its workspace on its shard
//! share. An event is then put into the log once, and each client is sent what lies between its
//! place and the end of the log, with one call.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`shard`] | one thread: its turns, and what is heard in them |
//! | [`per_client`], [`per_broadcast`] | what a shard does for one connection, and for one log |
//! | [`client`], [`catching_up`], [`outgoing`] | a connection, its first part, and what waits for it alone |
//! | [`broadcast`], [`broadcast_buffer`], [`broadcast_cursors`] | a log with what fills it, its bytes, its clients |
//! | [`heartbeat_wheel`], [`timers`] | heartbeats, and other moments |
//! | [`shard_sender`], [`handoff`] | how others reach a shard |
//! | [`chunk`], [`counts`] | the framing of bodies, and counting |

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::sync::Arc;
use std::time::Duration;

mod broadcast;
mod broadcast_buffer;
mod broadcast_cursors;
mod catching_up;
mod chunk;
mod client;
mod counts;
mod handoff;
mod heartbeat_wheel;
mod outgoing;
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

/// Up to this many clients of a workspace share a shard before the next ones go to another: a small
/// workspace costs one log, and a large one is written by all shards.
const CLIENTS_PER_SHARD: usize = 512;

/// What the shards of an engine have in common.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// What all streams have in common.
    pub streams: Arc<StreamSettings>,
    /// How long a client may take nothing of what waits for it.
    pub write_timeout: Duration,
    /// The bounds of logs.
    pub bounds: BroadcastBounds,
}

impl EngineSettings {
    fn write_timeout_ms(&self) -> u64 {
        crate::until::millis(self.write_timeout)
    }
}

/// All shards, for those who have something to say to them.
#[derive(Debug)]
pub struct Engine {
    shards: Vec<Arc<ShardSender>>,
}

impl Engine {
    /// An engine of so many shards (at least 1), each of which is to be run on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the system has no polls left.
    pub fn new(shards: usize, settings: &EngineSettings) -> io::Result<(Self, Vec<Shard>)> {
        let shards: Vec<_> =
            (0..shards.max(1)).map(|_| Shard::new(settings.clone())).collect::<Result<_, _>>()?;
        Ok((Self { shards: shards.iter().map(Shard::shard_sender).collect() }, shards))
    }

    /// Takes a stream over.
    pub fn open(&self, handoff: Handoff) {
        let subscriber = &handoff.pending_stream.subscriber;
        let mut hasher = DefaultHasher::new();
        subscriber.workspace().hash(&mut hasher);
        let home = usize::try_from(hasher.finish() % self.shards.len() as u64).unwrap_or_default();
        let shard = (home + subscriber.subscriber_count() / CLIENTS_PER_SHARD) % self.shards.len();
        self.shards[shard].send(ShardMessage::Open(Box::new(handoff)));
    }

    /// Tells the shards that the drain of the streams has begun.
    pub fn drain(&self) {
        self.tell_all(|| ShardMessage::Drain);
    }

    /// Cuts every stream that is left.
    pub fn abandon(&self) {
        self.tell_all(|| ShardMessage::Abandon);
    }

    /// Ends the shards.
    pub fn stop(&self) {
        self.tell_all(|| ShardMessage::Stop);
    }

    fn tell_all(&self, message: impl Fn() -> ShardMessage) {
        self.shards.iter().for_each(|shard| shard.send(message()));
    }
}
