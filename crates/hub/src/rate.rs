//! The rates at which a workspace accepts events.

use std::num::NonZeroU32;

use governor::Quota;

/// Limits on publishing to one workspace, per second; `None` without a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Events in a second; `None`: no limit.
    pub events: Option<NonZeroU32>,
    /// Bytes of payload in a second; `None`: no limit.
    pub bytes: Option<NonZeroU32>,
}

impl Rates {
    /// Converts numbers of the configuration: 0, or a number beyond 32 bits, is no limit.
    #[must_use]
    pub fn new(events: usize, bytes: usize) -> Self {
        let rate = |number: usize| u32::try_from(number).ok().and_then(NonZeroU32::new);
        Self { events: rate(events), bytes: rate(bytes) }
    }
}

/// A bucket that fills at a rate and holds the tokens of so many seconds.
#[must_use]
pub fn quota(per_second: NonZeroU32, seconds: NonZeroU32) -> Quota {
    Quota::per_second(per_second).allow_burst(per_second.saturating_mul(seconds))
}
