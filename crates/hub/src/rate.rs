//! How fast a workspace may be published to.

use std::num::NonZeroU32;

use governor::Quota;

/// Bounds on what is published to one workspace, per second; `None` where there is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Events.
    pub events: Option<NonZeroU32>,
    /// Bytes of payload.
    pub bytes: Option<NonZeroU32>,
}

impl Rates {
    /// Takes numbers as the configuration has them: 0 is no bound. A number beyond 32 bits is none either.
    #[must_use]
    pub fn new(events: usize, bytes: usize) -> Self {
        let rate = |number: usize| u32::try_from(number).ok().and_then(NonZeroU32::new);
        Self { events: rate(events), bytes: rate(bytes) }
    }
}

/// A bucket that fills at a rate and holds what comes together in so many seconds.
#[must_use]
pub fn quota(per_second: NonZeroU32, seconds: NonZeroU32) -> Quota {
    Quota::per_second(per_second).allow_burst(per_second.saturating_mul(seconds))
}
