//! How fast a workspace's channel may bring events, and what was dropped because it was faster.
//!
//! Whoever missed something is told before anything later reaches it, and not more often than once a second. So after a
//! drop everything else is dropped too until it may be told; the buckets fill meanwhile, and what goes through stays near
//! the configured rate.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::RateLimiter;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};

use crate::rate::{Rates, quota};
use tidings_event::Position;

/// How many seconds' worth may come at once: twice what a publisher over HTTP may send at once, so that what was let in
/// there is not dropped here because it was bunched up on its way.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// The shortest time between two words about dropped events.
const TELLING_INTERVAL: Duration = Duration::from_secs(1);

/// Where a hub takes the time from, as the time since some moment; it never goes back.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// A clock that this function reads.
    #[must_use]
    pub fn new(read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time that it shows.
    pub(super) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl Default for Clock {
    /// The system's monotonic clock.
    fn default() -> Self {
        let began = Instant::now();
        Self::new(move || began.elapsed())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&(self.0)()).finish()
    }
}

impl governor::clock::Clock for Clock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        (self.0)()
    }
}

/// The pace of one workspace.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Clock,
    events: Option<Bucket>,
    bytes: Option<Bucket>,
    /// When subscribers were last told of drops.
    told: Option<Duration>,
    /// What was dropped since.
    untold: Option<UnreportedLimit>,
}

/// Events that were dropped, of which nobody has been told yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnreportedLimit {
    /// The place of the last logged one among them.
    pub(super) position: Option<Position>,
}

impl Pace {
    /// A pace with full buckets; `None` where nothing is bounded.
    pub(super) fn new(rates: Rates, clock: &Clock) -> Option<Self> {
        let bucket = |per_second| Bucket::new(per_second, clock.clone());
        let (events, bytes) = (rates.events.map(bucket), rates.bytes.map(bucket));
        let bounded = events.is_some() || bytes.is_some();
        bounded.then(|| Self { clock: clock.clone(), events, bytes, told: None, untold: None })
    }

    /// Whether an event of so many bytes may be delivered now; it takes its share of the buckets then. One that is refused
    /// for its bytes has used up its place among the events.
    pub(super) fn admits(&self, bytes: usize) -> bool {
        if self.untold.is_some() && !self.may_tell() {
            return false;
        }
        let take = |bucket: &Option<Bucket>, count| bucket.as_ref().is_none_or(|bucket| bucket.take(count));
        take(&self.events, 1) && take(&self.bytes, bytes)
    }

    /// An event was dropped; `position` is its place in the log, if it has one.
    pub(super) fn note_dropped(&mut self, position: Option<Position>) {
        let untold = self.untold.get_or_insert(UnreportedLimit { position: None });
        untold.position = position.or(untold.position);
    }

    /// Whether there is something to be told, and it may be told now.
    pub(super) fn is_due(&self) -> bool {
        self.untold.is_some() && self.may_tell()
    }

    /// What is to be told, which counts as told now.
    pub(super) fn tell(&mut self) -> Option<UnreportedLimit> {
        let untold = self.untold.take()?;
        self.told = Some(self.clock.now());
        Some(untold)
    }

    fn may_tell(&self) -> bool {
        self.told.is_none_or(|told| self.clock.now().saturating_sub(told) >= TELLING_INTERVAL)
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

    /// Takes so much, or all that the bucket can hold where that is less; nothing if it is not there.
    fn take(&self, count: usize) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(self.size);
        let Some(count) = NonZeroU32::new(count) else { return true };
        matches!(self.limiter.check_n(count), Ok(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn pace(events: usize, bytes: usize) -> (Pace, impl Fn(u64)) {
        let now = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&now);
        let clock = Clock::new(move || Duration::from_millis(read.load(Ordering::Relaxed)));
        let advance = move |milliseconds| {
            now.fetch_add(milliseconds, Ordering::Relaxed);
        };
        (Pace::new(Rates::new(events, bytes), &clock).unwrap(), advance)
    }

    fn admitted(pace: &Pace, bytes: usize) -> usize {
        (0..1000).take_while(|_| pace.admits(bytes)).count()
    }

    #[test]
    fn two_seconds_worth_may_come_at_once_and_then_the_rate() {
        let (pace, advance) = pace(10, 0);
        assert_eq!(admitted(&pace, 1), 20);
        advance(500);
        assert_eq!(admitted(&pace, 1), 5);
        advance(10_000);
        assert_eq!(admitted(&pace, 1), 20);
    }

    #[test]
    fn bytes_count_as_well_and_one_event_always_fits() {
        let (pace, advance) = pace(100, 1000);
        assert_eq!(admitted(&pace, 300), 6);
        advance(10_000);
        assert!(pace.admits(1_000_000), "a full bucket is enough for whatever comes");
        assert!(!pace.admits(1));
        assert!(pace.admits(0));
    }

    #[test]
    fn nothing_is_bounded_unless_it_is_configured() {
        assert!(Pace::new(Rates::default(), &Clock::default()).is_none());
    }

    /// A reset for dropped events goes out before any later event.
    #[test]
    fn between_a_drop_and_its_telling_nothing_passes() {
        let (mut pace, advance) = pace(10, 0);
        assert_eq!(admitted(&pace, 1), 20);
        pace.note_dropped(None);
        assert!(pace.is_due(), "the first may be told at once");
        assert_eq!(pace.tell(), Some(UnreportedLimit { position: None }));
        advance(400);
        let position = Position::logged("7-0".parse().unwrap());
        pace.note_dropped(Some(position));
        pace.note_dropped(None);
        assert!(!pace.admits(1) && !pace.is_due(), "told less than a second ago");
        advance(600);
        assert!(pace.is_due());
        assert_eq!(admitted(&pace, 1), 10, "the bucket has filled meanwhile");
        assert_eq!(pace.tell(), Some(UnreportedLimit { position: Some(position) }));
        assert_eq!(pace.tell(), None);
    }
}
