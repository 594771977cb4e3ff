//! The first part of a stream, which is the client's own: from `retry:` over the hello and what it missed to the place
//! where it has everything that its node has. A client with a filter of its own stays here.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::Tick;
use super::chunk;
use super::counts::EngineCounts;
use super::shard_sender::ClientWaker;
use crate::StreamSettings;
use crate::connected::connected;
use crate::stream_stats::StreamStats;
use tidings_event::control;
use tidings_event::control::ReconnectReason;
use tidings_hub::{Next, Subscriber};

/// How many bytes are gathered before they are sent.
const FILL_BYTES: usize = 16 * 1024;

/// A subscriber that is read for one client.
#[derive(Debug)]
pub(super) struct CatchingUp {
    pub(super) subscriber: Subscriber,
    /// What the subscriber rings when there is something.
    pub(super) client_waker: Arc<ClientWaker>,
    /// Until when it is held if its workspace is not confirmed.
    pub(super) held_until: Tick,
    stage: CatchingUpStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CatchingUpStage {
    /// Nothing was sent yet.
    Opening,
    /// Waiting for the workspace to be confirmed.
    Held,
    /// Reading.
    Live,
}

/// What came of filling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// There is something to send.
    Some,
    /// There is nothing: the client has everything.
    Nothing,
    /// There may be something to send, and then the stream ends.
    End(ReconnectReason),
}

impl CatchingUp {
    pub(super) fn new(subscriber: Subscriber, client_waker: Arc<ClientWaker>, held_until: Tick) -> Self {
        Self { subscriber, client_waker, held_until, stage: CatchingUpStage::Opening }
    }

    /// Whether nothing was added yet.
    pub(super) fn is_opening(&self) -> bool {
        self.stage == CatchingUpStage::Opening
    }

    /// Whether the hello is out.
    pub(super) fn is_live(&self) -> bool {
        self.stage == CatchingUpStage::Live
    }

    /// Adds what comes next to `out`, as chunks.
    pub(super) fn fill(
        &mut self,
        settings: &StreamSettings,
        stream_stats: &mut StreamStats,
        counts: &mut EngineCounts,
        out: &mut Vec<u8>,
    ) -> Filled {
        let waker = self.client_waker.waker();
        let context = Context::from_waker(&waker);
        let mut may_read = false;
        while out.len() < FILL_BYTES {
            if self.stage == CatchingUpStage::Opening {
                self.stage = CatchingUpStage::Held;
                counts.give(stream_stats, out, &control::retry(settings.draw_retry_ms()));
                continue;
            }
            // Before any event: who may not read any more gets none of those that wait.
            if !may_read && let Some(ending) = stream_stats.stream_guard.ending() {
                return Filled::End(ending.reason());
            }
            may_read = true;
            match self.subscriber.poll_next(&context) {
                Poll::Ready(Next::Joined(joined)) => {
                    self.stage = CatchingUpStage::Live;
                    let message =
                        connected(joined, self.subscriber.workspace(), stream_stats.stream_guard.id());
                    counts.give(stream_stats, out, &message);
                }
                Poll::Ready(Next::Event(bytes)) => {
                    stream_stats.events += 1;
                    counts.deliveries += 1;
                    counts.give(stream_stats, out, &bytes);
                }
                Poll::Ready(Next::Notice(bytes)) => counts.give(stream_stats, out, &bytes),
                Poll::Ready(Next::Lagging) => return Filled::End(ReconnectReason::Lagging),
                Poll::Ready(Next::Unavailable) => return Filled::End(ReconnectReason::Unavailable),
                Poll::Pending => return if out.is_empty() { Filled::Nothing } else { Filled::Some },
            }
        }
        Filled::Some
    }

    /// A sign of life at the place where the client is.
    pub(super) fn heartbeat(
        &self,
        stream_stats: &mut StreamStats,
        counts: &mut EngineCounts,
        out: &mut Vec<u8>,
    ) {
        let beat = control::heartbeat(self.subscriber.position(), self.subscriber.is_live());
        counts.give(stream_stats, out, &beat);
    }
}

impl EngineCounts {
    /// Adds a frame that is one client's alone.
    pub(super) fn give(&mut self, stream_stats: &mut StreamStats, out: &mut Vec<u8>, frame: &[u8]) {
        chunk::put(out, frame);
        let bytes = frame.len() as u64;
        stream_stats.bytes += bytes;
        self.bytes += bytes;
    }
}
