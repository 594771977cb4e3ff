//! What all streams of a node have in common, and on what terms one is open.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::drain::Drain;
use super::until::{Until, WallClock};
use tidings_event::control;
use tidings_event::control::ReconnectReason;
use tidings_event::spread;
use tidings_limits::{AddressPlace, StreamGuard};
use tidings_metrics::Metrics;

/// How far `retry:` values are spread, as a share of the configured one.
const RETRY_SPREAD: f64 = 0.25;

/// How long before the end of its token a stream ends, so that nobody reads on afterwards, and who
/// comes back with the same one a little later finds that it has ended.
const EXPIRY_LEAD: Duration = Duration::from_secs(1);

/// How far the lead is spread, as a share of it.
const EXPIRY_SPREAD: f64 = 0.5;

/// How long a client may take over the end of its stream: what waits for it, and the last frame.
/// One that does not read, or reads little by little, does not hold its place for longer.
pub(super) const END_GRACE: Duration = Duration::from_secs(5);

/// How far the age at which streams end is spread, as a share of it.
const AGE_SPREAD: f64 = 0.2;

/// What all streams of a node have in common.
#[derive(Debug)]
pub struct StreamSettings {
    /// The heartbeat's interval, before it is spread.
    pub heartbeat: Duration,
    /// What clients are told to wait before they reconnect, before it is spread.
    pub retry: Duration,
    /// How long a client is held while its workspace is not confirmed.
    pub confirm: Duration,
    /// How long a stream may be open, before it is spread; `None` for as long as one likes.
    pub age: Option<Duration>,
    /// The end of all streams.
    pub drain: Drain,
    /// The clock by which tokens end.
    pub clock: WallClock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl StreamSettings {
    /// A `retry:` value of its own for a stream, in milliseconds.
    #[must_use]
    pub fn draw_retry_ms(&self) -> u64 {
        u64::try_from(spread(self.retry, RETRY_SPREAD).as_millis()).unwrap_or(u64::MAX)
    }

    /// When a stream that is opened now ends by itself: a moment before what proves its right to be
    /// open does, or when it has been open for as long as streams may be.
    #[must_use]
    pub fn draw_until(&self, expires: Option<SystemTime>) -> Until {
        let lead = spread(EXPIRY_LEAD, EXPIRY_SPREAD);
        Until {
            aged: self.age.map(|age| Instant::now() + spread(age, AGE_SPREAD)),
            expires: expires.map(|at| at.checked_sub(lead).unwrap_or(UNIX_EPOCH)),
        }
    }

    /// The last frame of a stream, which asks the client to reconnect; by itself, a whole stream
    /// for a client that the node rejects for now. Counts the end.
    #[must_use]
    pub fn last_frame(&self, reason: ReconnectReason) -> Bytes {
        self.metrics.count_reconnect(reason.as_str());
        control::reconnect(reason, self.draw_retry_ms())
    }
}

/// On what terms a stream is open.
#[derive(Debug)]
pub struct Terms {
    /// Its place among the open ones.
    pub stream_guard: StreamGuard,
    /// Its place among those of its client's address, where that is counted by streams.
    pub place: Option<AddressPlace>,
    /// When it ends by itself.
    pub until: Until,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(age: Option<Duration>) -> StreamSettings {
        let second = Duration::from_secs(1);
        let (drain, metrics) = (Drain::default(), Arc::new(Metrics::new()));
        let clock = WallClock::default();
        StreamSettings { heartbeat: second, retry: second, confirm: second, age, drain, clock, metrics }
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
