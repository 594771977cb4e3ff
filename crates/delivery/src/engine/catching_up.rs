//! The first part of a stream, with a subscriber of its own. It sends `retry:`, the `connected`
//! event and the missed events until the client has every event of its node. A client with a filter
//! remains in this state.

use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use super::chunk;
use super::counts::EngineCounts;
use super::shard_sender::ShardWaker;
use crate::StreamSettings;
use crate::stream_stats::StreamStats;
use crate::until::millis;
use tidings_event::control::ReconnectReason;
use tidings_hub::{NEVER, StreamEnds, StreamLifecycle, StreamMoment, StreamStep, Subscriber, Tick};
use tidings_limits::Ending;

/// The bytes that are collected before they are sent.
const FILL_BYTES: usize = 16 * 1024;

/// A subscriber that serves one client.
#[derive(Debug)]
pub(super) struct CatchingUp {
    pub(super) subscriber: Subscriber,
    /// The waker of the subscriber.
    pub(super) shard_waker: Arc<ShardWaker>,
    pub(super) lifecycle: StreamLifecycle,
}

/// The result of filling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// There are bytes to send.
    Some,
    /// There are none: the client has every event.
    Nothing,
    /// There may be bytes to send, and then the stream ends.
    End(ReconnectReason),
}

impl CatchingUp {
    /// Creates the state of a new stream. The engine has a schedule of its own for heartbeats.
    pub(super) fn new(subscriber: Subscriber, shard_waker: Arc<ShardWaker>, held_until: Tick) -> Self {
        Self { subscriber, shard_waker, lifecycle: StreamLifecycle::new(held_until, NEVER) }
    }

    /// Adds the next messages to `out`, as chunks.
    pub(super) fn fill(
        &mut self,
        now: Tick,
        ends: &StreamEnds,
        settings: &StreamSettings,
        stream_stats: &mut StreamStats,
        counts: &mut EngineCounts,
        out: &mut Vec<u8>,
    ) -> Filled {
        let waker = self.shard_waker.waker();
        let context = Context::from_waker(&waker);
        let revoked = stream_stats.stream_guard.ending().map(Ending::reason);
        let heartbeat_ms = millis(settings.heartbeat);
        let moment = StreamMoment { now, ends, revoked, heartbeat_ms, schemas: settings.schemas };
        let connection = stream_stats.stream_guard.id();
        while out.len() < FILL_BYTES {
            let retry_ms = || settings.draw_retry_ms();
            match self.lifecycle.poll(moment, connection, retry_ms, &mut self.subscriber, &context) {
                StreamStep::DeliverWatched(bytes, watch) => {
                    watch.deliver(1, Instant::now(), Some(connection));
                    stream_stats.events += 1;
                    counts.deliveries += 1;
                    counts.give(stream_stats, out, &bytes);
                }
                StreamStep::Deliver(bytes) => {
                    stream_stats.events += 1;
                    counts.deliveries += 1;
                    counts.give(stream_stats, out, &bytes);
                }
                StreamStep::Write(bytes) | StreamStep::Heartbeat(bytes) => {
                    counts.give(stream_stats, out, &bytes);
                }
                StreamStep::End(reason) => return Filled::End(reason),
                StreamStep::Wait(_) if out.is_empty() => return Filled::Nothing,
                StreamStep::Wait(_) => return Filled::Some,
            }
        }
        Filled::Some
    }

    /// A heartbeat at the position of the client.
    pub(super) fn heartbeat(
        &self,
        stream_stats: &mut StreamStats,
        counts: &mut EngineCounts,
        out: &mut Vec<u8>,
    ) {
        counts.give(stream_stats, out, &StreamLifecycle::heartbeat(&self.subscriber));
    }
}

impl EngineCounts {
    /// Adds a frame for one client.
    pub(super) fn give(&mut self, stream_stats: &mut StreamStats, out: &mut Vec<u8>, frame: &[u8]) {
        chunk::put(out, frame);
        let bytes = frame.len() as u64;
        stream_stats.bytes += bytes;
        self.bytes += bytes;
    }
}
