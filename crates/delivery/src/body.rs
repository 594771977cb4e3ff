//! The stream of one client as the body of an HTTP response. The connection polls it when the
//! socket takes bytes, so a slow client delays no other.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;

use super::end_watch::{EndWatch, WatchedEnd};
use super::recipient::{CloseReason, Recipient};
use super::settings::{StreamSettings, Terms};
use super::stream_report::{BodyKey, BodyStream};
use super::stream_stats::StreamStats;
use super::until::{Until, millis};
use tidings_event::{EventWatch, Position, spread};
use tidings_hub::{NEVER, StreamEnds, StreamLifecycle, StreamMoment, StreamStep, Subscriber, Tick};
use tidings_limits::{AddressPlace, CloseSignal};

/// The spread of heartbeats, as a share of their interval.
const HEARTBEAT_SPREAD: f64 = 0.1;

/// The longest timer, in milliseconds from the start of the stream: a hundred years.
const LONGEST_WAIT_MS: u64 = 100 * 365 * 86_400_000;

/// The stream of one client.
///
/// Its items are whole frames, whose bytes all streams share without a copy. It ends after a
/// `tidings.reconnect`, or is dropped when the client disconnects. Either way it writes the log
/// line of the stream.
pub struct StreamBody {
    stream: Arc<BodyStream>,
    /// The place of the stream in the list of the settings.
    key: BodyKey,
    close_signal: Arc<CloseSignal>,
    abort: CloseReason,
    _place: Option<AddressPlace>,
    subscriber: Subscriber,
    lifecycle: StreamLifecycle,
    ends: StreamEnds,
    /// The ends by the wall clock, which move when the clock is set.
    until: Until,
    watch: Option<Arc<EndWatch>>,
    settings: Arc<StreamSettings>,
    /// Tick 0.
    began: Instant,
    /// Fires at the next time of the lifecycle.
    timer: Pin<Box<Sleep>>,
    drains: bool,
    has_ended: bool,
    /// The last poll found nothing to send, so the next event is not delayed by the client.
    waits: bool,
}

impl StreamBody {
    /// Creates the stream of a subscriber that has just joined.
    #[must_use]
    pub fn new(
        subscriber: Subscriber,
        terms: Terms,
        settings: Arc<StreamSettings>,
        recipient: Recipient,
    ) -> Self {
        let began = Instant::now();
        let heartbeat_at = millis(spread(settings.heartbeat, HEARTBEAT_SPREAD));
        let lifecycle = StreamLifecycle::new(millis(settings.confirm), heartbeat_at);
        let aged = terms.until.aged.map_or(NEVER, |at| millis(at.saturating_duration_since(began)));
        let close_signal = CloseSignal::of(&terms.stream_guard);
        let stream_stats = StreamStats::new(terms.stream_guard, &recipient, &settings.metrics);
        let (key, stream) = settings.bodies.add(stream_stats, &subscriber);
        Self {
            stream,
            key,
            close_signal,
            abort: recipient.abort,
            _place: terms.place,
            subscriber,
            lifecycle,
            ends: StreamEnds::new(aged, NEVER),
            until: terms.until,
            watch: None,
            settings,
            began,
            timer: Box::pin(tokio::time::sleep_until(began.into())),
            drains: false,
            has_ended: false,
            waits: false,
        }
    }

    /// Lets the task that writes the stream watch its end, while the server polls no bytes.
    #[must_use]
    pub fn watched_by(mut self, watch: Arc<EndWatch>) -> Self {
        let (close_signal, settings) = (Arc::clone(&self.close_signal), Arc::clone(&self.settings));
        watch.begin(WatchedEnd { close_signal, until: self.until, settings, ending: None });
        self.watch = Some(watch);
        self
    }

    /// The current tick of this stream; updates the ends.
    fn now(&mut self) -> Tick {
        let now = millis(self.began.elapsed());
        let left = self.until.left(&self.settings.clock);
        self.ends.set_expires(left.map_or(NEVER, |left| now.saturating_add(millis(left))));
        if !self.drains
            && let Some(at) = self.settings.drain.draw_end()
        {
            self.drains = true;
            self.ends.drain(millis(at.saturating_duration_since(self.began)));
        }
        now
    }

    /// Counts an event that the server takes.
    fn delivered(&self, waited: bool, watch: Option<&EventWatch>) {
        self.stream.stats().events += 1;
        self.settings.metrics.deliveries.inc();
        if waited {
            self.observe_delivery(watch);
        }
    }

    /// Adds the delivery time of the durable event that was just taken. An event from before the
    /// stream is a replay, and has no delivery time.
    fn observe_delivery(&self, watch: Option<&EventWatch>) {
        if let Some(Position { entry, live: None, .. }) = self.subscriber.position() {
            let time = self.settings.time_since(entry.milliseconds);
            if time <= self.began.elapsed() {
                self.settings.observe_delivery(time, watch.map(|watch| (watch, *entry)));
            }
        }
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let waited = std::mem::take(&mut self.waits);
        loop {
            let now = self.now();
            let revoked = match self.close_signal.poll_ending(context) {
                Poll::Ready(ending) => Some(ending.reason()),
                Poll::Pending => None,
            };
            let heartbeat_ms = millis(self.settings.heartbeat);
            let schemas = self.settings.schemas;
            let moment = StreamMoment { now, ends: &self.ends, revoked, heartbeat_ms, schemas };
            let (connection, settings) = (self.stream.stats().stream_guard.id(), &self.settings);
            let retry_ms = || settings.draw_retry_ms();
            let step = self.lifecycle.poll(moment, connection, retry_ms, &mut self.subscriber, context);
            let at = match step {
                StreamStep::Write(bytes) => return Poll::Ready(Some(bytes)),
                StreamStep::Deliver(bytes) => {
                    self.delivered(waited, None);
                    return Poll::Ready(Some(bytes));
                }
                StreamStep::DeliverWatched(bytes, watch) => {
                    watch.deliver(1, Instant::now(), Some(connection));
                    self.delivered(waited, Some(&watch));
                    return Poll::Ready(Some(bytes));
                }
                StreamStep::Heartbeat(bytes) => {
                    let next = spread(self.settings.heartbeat, HEARTBEAT_SPREAD);
                    self.lifecycle.set_heartbeat(now.saturating_add(millis(next)));
                    return Poll::Ready(Some(bytes));
                }
                StreamStep::End(reason) => {
                    self.has_ended = true;
                    self.stream.stats().ended(reason);
                    return Poll::Ready(Some(self.settings.last_frame(reason)));
                }
                StreamStep::Wait(at) => at,
            };
            // A millisecond more, because ticks are rounded down.
            let at = self.began + Duration::from_millis(at.saturating_add(1).min(LONGEST_WAIT_MS));
            if self.timer.deadline() != at.into() {
                self.timer.as_mut().reset(at.into());
            }
            if self.timer.as_mut().poll(context).is_pending() {
                self.waits = true;
                return Poll::Pending;
            }
        }
    }
}

impl Stream for StreamBody {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let polled = this.poll_bytes(context);
        if let Poll::Ready(Some(bytes)) = &polled {
            this.stream.stats().bytes += bytes.len() as u64;
            this.settings.metrics.delivered_bytes.inc_by(bytes.len() as u64);
        }
        // Also without bytes: the stream may have passed events that its filter hides.
        this.stream.note(&this.subscriber, this.has_ended);
        polled.map(|bytes| bytes.map(Ok))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let overdue = self.watch.as_ref().and_then(|watch| {
            watch.finish();
            watch.why()
        });
        if let Some(why) = overdue.or(self.abort.get().copied()) {
            self.stream.stats().abort(why);
        }
        self.settings.bodies.remove(self.key);
    }
}

impl fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBody")
            .field("subscriber", &self.subscriber)
            .field("lifecycle", &self.lifecycle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
