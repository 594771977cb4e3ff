//! The settings that all streams of a node share, and the terms of one stream.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::drain::Drain;
use super::stream_report::BodyStreams;
use super::until::{Until, WallClock};
use tidings_event::control;
use tidings_event::control::ReconnectReason;
use tidings_event::{EntryId, EventWatch, SchemaVersion, spread};
use tidings_limits::{AddressPlace, StreamGuard};
use tidings_metrics::{ExemplarLabels, Metrics};

/// The spread of `retry:` values, as a share of the configured one.
const RETRY_SPREAD: f64 = 0.25;

/// The time by which a stream ends before its token. So no client reads on after the end, and a
/// client that reconnects a little later with the same token is rejected.
const EXPIRY_LEAD: Duration = Duration::from_secs(1);

/// The spread of that time, as a share of it.
const EXPIRY_SPREAD: f64 = 0.5;

/// The time for the end of a stream: pending bytes and the last frame. A client that does not read,
/// or reads slowly, holds its place no longer.
pub(super) const END_GRACE: Duration = Duration::from_secs(5);

/// The spread of the age limit, as a share of it.
const AGE_SPREAD: f64 = 0.2;

/// The settings that all streams of a node share.
#[derive(Debug)]
pub struct StreamSettings {
    /// The heartbeat interval, before it is spread.
    pub heartbeat: Duration,
    /// The time after which clients reconnect, before it is spread.
    pub retry: Duration,
    /// The time for which a client is held while its workspace is not confirmed.
    pub confirm: Duration,
    /// The age limit, before it is spread; `None` without one.
    pub age: Option<Duration>,
    /// The drain of the node.
    pub drain: Drain,
    /// The clock for the ends of tokens.
    pub clock: WallClock,
    /// The version of the schemas of the node, for the `connected` event; `None` without schemas.
    pub schemas: Option<SchemaVersion>,
    /// The metrics of the node.
    pub metrics: Arc<Metrics>,
    /// The streams that the HTTP server writes.
    pub bodies: Arc<BodyStreams>,
}

impl StreamSettings {
    /// Draws the `retry:` value of a stream, in milliseconds.
    #[must_use]
    pub fn draw_retry_ms(&self) -> u64 {
        u64::try_from(spread(self.retry, RETRY_SPREAD).as_millis()).unwrap_or(u64::MAX)
    }

    /// Draws the ends of a stream that opens now: shortly before the end of its authorization, and
    /// at the age limit.
    #[must_use]
    pub fn draw_until(&self, expires: Option<SystemTime>) -> Until {
        let lead = spread(EXPIRY_LEAD, EXPIRY_SPREAD);
        Until {
            aged: self.age.map(|age| Instant::now() + spread(age, AGE_SPREAD)),
            expires: expires.map(|at| at.checked_sub(lead).unwrap_or(UNIX_EPOCH)),
        }
    }

    /// Returns the time from a durable event to now. `entered_ms` is the time in the event's id, in
    /// milliseconds since 1970. If the clock of the bus is ahead, the time is 0.
    pub(super) fn time_since(&self, entered_ms: u64) -> Duration {
        let now = u64::try_from(self.clock.now_ms()).unwrap_or(0);
        Duration::from_millis(now.saturating_sub(entered_ms))
    }

    /// Adds a delivery time. If a sampled event is among those that were measured, it is the
    /// exemplar.
    pub(super) fn observe_delivery(&self, time: Duration, sampled: Option<(&EventWatch, EntryId)>) {
        let exemplar = sampled.map(|(watch, entry)| ExemplarLabels {
            trace_id: watch.context().trace.to_string(),
            event_id: entry.to_string(),
        });
        self.metrics.delivery_seconds.observe(time.as_secs_f64(), exemplar);
    }

    /// Creates the last frame of a stream, which asks the client to reconnect. Alone, it is a whole
    /// stream for a client that the node rejects for now. Counts the end.
    #[must_use]
    pub fn last_frame(&self, reason: ReconnectReason) -> Bytes {
        self.metrics.count_reconnect(reason.as_str());
        control::reconnect(reason, self.draw_retry_ms())
    }
}

/// The terms of one stream.
#[derive(Debug)]
pub struct Terms {
    /// Its registration as an open stream.
    pub stream_guard: StreamGuard,
    /// Its place among those of its client's address, if streams count there.
    pub place: Option<AddressPlace>,
    /// The times at which it ends by itself.
    pub until: Until,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(age: Option<Duration>) -> StreamSettings {
        let second = Duration::from_secs(1);
        let (drain, metrics) = (Drain::default(), Arc::new(Metrics::new()));
        let clock = WallClock::default();
        let schemas = None;
        StreamSettings {
            heartbeat: second,
            retry: second,
            confirm: second,
            age,
            drain,
            clock,
            schemas,
            metrics,
            bodies: Arc::default(),
        }
    }

    #[test]
    fn stream_ends_before_its_token_or_at_its_age_limit() {
        let (now, minute) = (Instant::now(), Duration::from_secs(60));
        let until = |age, expires: Option<Duration>| {
            let settings = settings(age);
            let drawn = settings.draw_until(expires.map(|left| SystemTime::now() + left));
            drawn
                .next(&settings.clock, now)
                .map(|(at, reason)| (at.saturating_duration_since(now).as_secs_f64(), reason))
        };
        assert_eq!(until(None, None), None);
        for _ in 0..100 {
            let Some((seconds, ReconnectReason::Expired)) = until(Some(2 * minute), Some(minute)) else {
                panic!()
            };
            assert!((58.4..59.6).contains(&seconds), "{seconds}");
        }
        let Some((seconds, ReconnectReason::Aged)) = until(Some(minute), Some(2 * minute)) else { panic!() };
        assert!((47.9..72.1).contains(&seconds), "{seconds}");
        let Some((seconds, _)) = until(None, Some(Duration::ZERO)) else { panic!() };
        assert!(seconds < 1.0, "what has ended already ends the stream at once: {seconds}");
    }
}
