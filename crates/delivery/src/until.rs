//! The times at which a stream ends by itself.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidings_event::control::ReconnectReason;

/// The wall clock, which may be set while streams are open. Tests pass a clock of their own.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl WallClock {
    /// Creates a clock that `read` reads; it must not block.
    pub fn new(read: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// The current time in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        unix_ms(self.now())
    }
}

impl Default for WallClock {
    /// The system clock.
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WallClock").finish_non_exhaustive()
    }
}

/// The times at which a stream ends by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Until {
    /// The age limit.
    pub aged: Option<Instant>,
    /// The end of the authorization by the wall clock, such as that of a token.
    pub expires: Option<SystemTime>,
}

impl Until {
    /// The time left until the end of the authorization, by the clock as it is set now; `None`
    /// without an end.
    pub(super) fn left(&self, clock: &WallClock) -> Option<Duration> {
        self.expires.map(|at| at.duration_since(clock.now()).unwrap_or(Duration::ZERO))
    }

    /// The earlier of the two ends by the current clock, and its reason.
    pub(super) fn next(&self, clock: &WallClock, now: Instant) -> Option<(Instant, ReconnectReason)> {
        let expires = self.left(clock).map(|left| (now + left, ReconnectReason::Expired));
        let aged = self.aged.map(|at| (at, ReconnectReason::Aged));
        expires.into_iter().chain(aged).min_by_key(|(at, _)| *at)
    }
}

/// A time in milliseconds since 1970.
pub(super) fn unix_ms(at: SystemTime) -> i64 {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    at.duration_since(UNIX_EPOCH).map_or_else(|before| -ms(before.duration()), ms)
}

/// A duration in milliseconds, rounded down.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
