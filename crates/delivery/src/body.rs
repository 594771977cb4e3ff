//! One client's stream as the body of an HTTP answer: polled by the connection when the socket takes bytes, so a slow
//! client asks for less and nobody waits for it.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;

use super::connected::connected;
use super::end_watch::{EndWatch, WatchedEnd};
use super::recipient::{CloseReason, Recipient};
use super::settings::{StreamSettings, Terms};
use super::stream_stats::StreamStats;
use super::until::Until;
use tidings_event::control;
use tidings_event::control::ReconnectReason;
use tidings_event::spread;
use tidings_hub::{Next, Subscriber};
use tidings_limits::{AddressPlace, CloseSignal};

/// How far heartbeats are spread, as a share of their interval.
const HEARTBEAT_SPREAD: f64 = 0.1;

/// The stream of one client.
///
/// Its items are whole frames, in bytes that all streams share: handing one on takes no memory. It ends after a
/// `tidings.reconnect`, or is dropped when the client goes away; either way it writes the connection's log line.
pub struct StreamBody {
    stream_stats: StreamStats,
    close_signal: Arc<CloseSignal>,
    cut: CloseReason,
    _place: Option<AddressPlace>,
    subscriber: Subscriber,
    until: Until,
    watch: Option<Arc<EndWatch>>,
    settings: Arc<StreamSettings>,
    stage: BodyStage,
    /// Fires at the earliest of the moments below.
    timer: Pin<Box<Sleep>>,
    heartbeat_at: Instant,
    held_until: Instant,
    drained_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyStage {
    /// Nothing was sent yet.
    Opening,
    /// Waiting for the workspace to be confirmed.
    Held,
    /// Reading.
    Live,
    /// The last frame is out.
    Ended,
}

impl StreamBody {
    /// The stream of a subscriber that has just joined.
    #[must_use]
    pub fn new(
        subscriber: Subscriber,
        terms: Terms,
        settings: Arc<StreamSettings>,
        recipient: Recipient,
    ) -> Self {
        let now = Instant::now();
        let heartbeat_at = now + spread(settings.heartbeat, HEARTBEAT_SPREAD);
        let held_until = now + settings.confirm;
        let timer = Box::pin(tokio::time::sleep_until(heartbeat_at.min(held_until).into()));
        let close_signal = CloseSignal::of(&terms.stream_guard);
        let stream_stats = StreamStats::new(terms.stream_guard, &recipient);
        Self {
            stream_stats,
            close_signal,
            cut: recipient.cut,
            _place: terms.place,
            subscriber,
            until: terms.until,
            watch: None,
            settings,
            stage: BodyStage::Opening,
            timer,
            heartbeat_at,
            held_until,
            drained_at: None,
        }
    }

    /// Has the stream's end watched too while nobody asks it for bytes, by the task that writes it.
    #[must_use]
    pub fn watched_by(mut self, watch: Arc<EndWatch>) -> Self {
        let (close_signal, settings) = (Arc::clone(&self.close_signal), Arc::clone(&self.settings));
        watch.begin(WatchedEnd { close_signal, until: self.until, settings, ending: None });
        self.watch = Some(watch);
        self
    }

    /// The stream's last frame.
    fn end(&mut self, reason: ReconnectReason) -> Bytes {
        self.stage = BodyStage::Ended;
        self.stream_stats.ended(reason);
        self.settings.metrics.count_reconnect(reason.as_str());
        control::reconnect(reason, self.settings.draw_retry_ms())
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.stage {
            BodyStage::Opening => {
                self.stage = BodyStage::Held;
                return Poll::Ready(Some(control::retry(self.settings.draw_retry_ms())));
            }
            BodyStage::Ended => return Poll::Ready(None),
            BodyStage::Held | BodyStage::Live => {}
        }
        if self.drained_at.is_none() {
            self.drained_at = self.settings.drain.draw_end();
        }
        let now = Instant::now();
        if self.drained_at.is_some_and(|at| at <= now) {
            return Poll::Ready(Some(self.end(ReconnectReason::Draining)));
        }
        // Before any event: who may not read any more gets none of those that wait.
        if let Poll::Ready(ending) = self.close_signal.poll_ending(context) {
            return Poll::Ready(Some(self.end(ending.reason())));
        }
        if let Some((at, reason)) = self.until.next(&self.settings.clock, now)
            && at <= now
        {
            return Poll::Ready(Some(self.end(reason)));
        }
        match self.subscriber.poll_next(context) {
            Poll::Ready(Next::Joined(joined)) => {
                self.stage = BodyStage::Live;
                let (workspace, connection) =
                    (self.subscriber.workspace(), self.stream_stats.stream_guard.id());
                return Poll::Ready(Some(connected(joined, workspace, connection)));
            }
            Poll::Ready(Next::Event(bytes)) => {
                self.stream_stats.events += 1;
                self.settings.metrics.deliveries.inc();
                return Poll::Ready(Some(bytes));
            }
            Poll::Ready(Next::Notice(bytes)) => return Poll::Ready(Some(bytes)),
            Poll::Ready(Next::Lagging) => return Poll::Ready(Some(self.end(ReconnectReason::Lagging))),
            Poll::Ready(Next::Unavailable) => {
                return Poll::Ready(Some(self.end(ReconnectReason::Unavailable)));
            }
            Poll::Pending => {}
        }
        self.poll_timer(context)
    }

    /// Acts on the moments that have come, and sets the timer for the next one.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let now = Instant::now();
            if self.stage == BodyStage::Held && self.held_until <= now {
                return Poll::Ready(Some(self.end(ReconnectReason::Unavailable)));
            }
            if self.heartbeat_at <= now {
                self.heartbeat_at = now + spread(self.settings.heartbeat, HEARTBEAT_SPREAD);
                let live = self.subscriber.is_live();
                return Poll::Ready(Some(control::heartbeat(self.subscriber.position(), live)));
            }
            let mut next = self.heartbeat_at;
            if let Some((at, reason)) = self.until.next(&self.settings.clock, now) {
                if at <= now {
                    return Poll::Ready(Some(self.end(reason)));
                }
                next = next.min(at);
            }
            if self.stage == BodyStage::Held {
                next = next.min(self.held_until);
            }
            if let Some(drained_at) = self.drained_at {
                if drained_at <= now {
                    return Poll::Ready(Some(self.end(ReconnectReason::Draining)));
                }
                next = next.min(drained_at);
            }
            if self.timer.deadline() != next.into() {
                self.timer.as_mut().reset(next.into());
            }
            match self.timer.as_mut().poll(context) {
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Stream for StreamBody {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let bytes = std::task::ready!(this.poll_bytes(context));
        if let Some(bytes) = &bytes {
            this.stream_stats.bytes += bytes.len() as u64;
            this.settings.metrics.delivered_bytes.inc_by(bytes.len() as u64);
        }
        Poll::Ready(bytes.map(Ok))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let overdue = self.watch.as_ref().and_then(|watch| {
            watch.finish();
            watch.why()
        });
        if let Some(why) = overdue.or(self.cut.get().copied()) {
            self.stream_stats.cut(why);
        }
    }
}

impl fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBody")
            .field("subscriber", &self.subscriber)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
