//! When a stream ends by itself.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidings_event::control::ReconnectReason;

/// The wall clock, which may be set while streams are open. Tests pass one that they set.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl WallClock {
    /// A clock that is read by a function, which does not block.
    pub fn new(read: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// The time in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        unix_ms(self.now())
    }
}

impl Default for WallClock {
    /// The machine's.
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WallClock").finish_non_exhaustive()
    }
}

/// When a stream ends by itself: the sooner of two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Until {
    /// It has been open for as long as streams may be.
    pub aged: Option<Instant>,
    /// What proves its right to be open ends, by the wall clock as it stands then: a token says so.
    pub expires: Option<SystemTime>,
}

impl Until {
    /// The time until the right to be open ends, as the clock is set now; `None` without such an
    /// end.
    pub(super) fn left(&self, clock: &WallClock) -> Option<Duration> {
        self.expires.map(|at| at.duration_since(clock.now()).unwrap_or(Duration::ZERO))
    }

    /// The sooner moment as the clock stands now, and what the client is told then.
    pub(super) fn next(&self, clock: &WallClock, now: Instant) -> Option<(Instant, ReconnectReason)> {
        let expires = self.left(clock).map(|left| (now + left, ReconnectReason::Expired));
        let aged = self.aged.map(|at| (at, ReconnectReason::Aged));
        expires.into_iter().chain(aged).min_by_key(|(at, _)| *at)
    }
}

/// A moment in milliseconds since 1970.
pub(super) fn unix_ms(at: SystemTime) -> i64 {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    at.duration_since(UNIX_EPOCH).map_or_else(|before| -ms(before.duration()), ms)
}

/// A time in milliseconds, rounded down.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
