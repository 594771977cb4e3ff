//! The rate limit of a workspace's channel, and the events that were dropped because of it.
//!
//! A reset precedes any later event, and resets come once a second at most. So after a drop every
//! event is dropped until the reset is due. The buckets fill meanwhile, and the delivered rate
//! remains near the configured one.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use governor::RateLimiter;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};

use crate::rate::{Rates, quota};
use tidings_event::Position;

/// The length of a burst in seconds. It is twice that of a publisher over HTTP, so a burst that is
/// accepted there and arrives at once is not dropped here.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// The shortest time between two resets for dropped events.
const RESET_INTERVAL: Duration = Duration::from_secs(1);

/// The clock of a hub, as the time since a fixed start; it never goes back.
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// The time from 1970 to the start.
    start: Duration,
}

impl Clock {
    /// Creates a clock that `read` reads, with 1970 as its start.
    #[must_use]
    pub fn new(read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), start: Duration::ZERO }
    }

    /// The current time.
    pub(super) fn now(&self) -> Duration {
        (self.read)()
    }

    /// The time since 1970. Later changes of the system's clock have no effect on it.
    pub(super) fn since_1970(&self) -> Duration {
        self.start + self.now()
    }
}

impl Default for Clock {
    /// The system's monotonic clock.
    fn default() -> Self {
        let began = Instant::now();
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start, ..Self::new(move || began.elapsed()) }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

impl governor::clock::Clock for Clock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        (self.read)()
    }
}

/// The rate limit of one workspace.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Clock,
    events: Option<Bucket>,
    bytes: Option<Bucket>,
    /// The time of the last reset for dropped events.
    last_reset: Option<Duration>,
    /// The events dropped since.
    unreported: Option<UnreportedLimit>,
}

/// Dropped events without a reset so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnreportedLimit {
    /// The position of the last logged one.
    pub(super) position: Option<Position>,
}

impl Pace {
    /// Creates full buckets; `None` if no rate is limited.
    pub(super) fn new(rates: Rates, clock: &Clock) -> Option<Self> {
        let mut pace =
            Self { clock: clock.clone(), events: None, bytes: None, last_reset: None, unreported: None };
        pace.set_rates(rates);
        (rates != Rates::default()).then_some(pace)
    }

    /// Replaces the buckets by full ones of other rates.
    pub(super) fn set_rates(&mut self, rates: Rates) {
        let bucket = |per_second| Bucket::new(per_second, self.clock.clone());
        (self.events, self.bytes) = (rates.events.map(bucket), rates.bytes.map(bucket));
    }

    /// Whether an event of this size may be delivered now; if so, it takes tokens from the buckets.
    /// An event that exceeds the byte rate has used a token of the event rate.
    pub(super) fn admits(&self, bytes: usize) -> bool {
        if self.unreported.is_some() && !self.may_report() {
            return false;
        }
        let take = |bucket: &Option<Bucket>, count| bucket.as_ref().is_none_or(|bucket| bucket.take(count));
        take(&self.events, 1) && take(&self.bytes, bytes)
    }

    /// Records a dropped event; `position` is its place in the log, if it has one.
    pub(super) fn note_dropped(&mut self, position: Option<Position>) {
        let unreported = self.unreported.get_or_insert(UnreportedLimit { position: None });
        unreported.position = position.or(unreported.position);
    }

    /// Whether a reset is due now.
    pub(super) fn is_due(&self) -> bool {
        self.unreported.is_some() && self.may_report()
    }

    /// Takes the dropped events; their reset counts as sent now.
    pub(super) fn take_unreported(&mut self) -> Option<UnreportedLimit> {
        let unreported = self.unreported.take()?;
        self.last_reset = Some(self.clock.now());
        Some(unreported)
    }

    fn may_report(&self) -> bool {
        self.last_reset.is_none_or(|last_reset| self.clock.now().saturating_sub(last_reset) >= RESET_INTERVAL)
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Duration>>,
    size: u32,
}

impl Bucket {
    fn new(per_second: NonZeroU32, clock: Clock) -> Self {
        let quota = quota(per_second, BURST_SECONDS);
        Self { limiter: RateLimiter::direct_with_clock(quota, clock), size: quota.burst_size().get() }
    }

    /// Takes this many tokens, or a full bucket if that is less; none if they are missing.
    fn take(&self, count: usize) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(self.size);
        let Some(count) = NonZeroU32::new(count) else { return true };
        matches!(self.limiter.check_n(count), Ok(Ok(())))
    }
}

#[cfg(test)]
mod tests;
