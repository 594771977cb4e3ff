//! The rate limit on publications over HTTP, for each workspace.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, RateLimiter};

use tidings_event::workspace::WorkspaceId;
use tidings_hub::rate::{Rates, quota};

/// The burst, in seconds of the rate.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::MIN;

/// A token bucket for events and one for bytes, for each workspace that something was published to
/// within the last second.
#[derive(Debug)]
pub struct PublishRate {
    events: ArcSwapOption<Buckets>,
    bytes: ArcSwapOption<Buckets>,
}

/// The reason for which a publication is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// It passes after this time, unless other publications do.
    For(Duration),
    /// It never passes: it holds more than the burst.
    Always,
}

impl PublishRate {
    /// Creates full buckets; none without a limit.
    #[must_use]
    pub fn new(rates: Rates) -> Self {
        let rate = Self { events: ArcSwapOption::empty(), bytes: ArcSwapOption::empty() };
        rate.set(rates);
        rate
    }

    /// Replaces the rates, with full buckets.
    pub fn set(&self, rates: Rates) {
        let buckets = |rate: Option<NonZeroU32>| rate.map(Buckets::new).map(Arc::new);
        self.events.store(buckets(rates.events));
        self.bytes.store(buckets(rates.bytes));
    }

    /// Counts a publication, or returns the reason for its rejection. A publication with too many
    /// bytes still counts its events.
    pub(crate) fn check(&self, workspace: &WorkspaceId, events: usize, bytes: usize) -> Result<(), Exceeded> {
        let check = |buckets: &ArcSwapOption<Buckets>, count| match &*buckets.load() {
            Some(buckets) => buckets.take(workspace, count),
            None => Ok(()),
        };
        check(&self.events, events)?;
        check(&self.bytes, bytes)
    }

    /// Drops the workspaces whose buckets are full again. A call every second bounds the memory to
    /// the workspaces of that time.
    pub fn forget_idle(&self) {
        for buckets in [&self.events, &self.bytes].into_iter().filter_map(ArcSwapOption::load_full) {
            buckets.0.retain_recent();
            buckets.0.shrink_to_fit();
        }
    }
}

#[derive(Debug)]
struct Buckets(DefaultKeyedRateLimiter<WorkspaceId>);

impl Buckets {
    fn new(per_second: NonZeroU32) -> Self {
        Self(RateLimiter::keyed(quota(per_second, BURST_SECONDS)))
    }

    fn take(&self, workspace: &WorkspaceId, count: usize) -> Result<(), Exceeded> {
        let Ok(count) = u32::try_from(count) else { return Err(Exceeded::Always) };
        let Some(count) = NonZeroU32::new(count) else { return Ok(()) };
        match self.0.check_key_n(workspace, count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(Exceeded::For(not_until.wait_time_from(DefaultClock::default().now()))),
            Err(_) => Err(Exceeded::Always),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_workspace_has_a_second_worth_of_its_own() {
        let rate = PublishRate::new(Rates::new(3, 100_000));
        let [one, other] = ["one", "other"].map(|id| WorkspaceId::parse(id).unwrap());
        assert_eq!(rate.check(&one, 2, 10), Ok(()));
        assert_eq!(rate.check(&one, 4, 10), Err(Exceeded::Always));
        let Err(Exceeded::For(wait)) = rate.check(&one, 3, 10) else { panic!() };
        assert!(wait > Duration::ZERO && wait < Duration::from_secs(1), "{wait:?}");
        assert_eq!(rate.check(&other, 3, 100_000), Ok(()));
        assert_eq!(rate.check(&other, 0, 100_001), Err(Exceeded::Always));
        assert_eq!(PublishRate::new(Rates::default()).check(&one, usize::MAX, usize::MAX), Ok(()));
    }

    #[test]
    fn workspaces_with_full_buckets_are_dropped() {
        let rate = PublishRate::new(Rates::new(1_000_000, 0));
        for number in 0..1000 {
            rate.check(&WorkspaceId::parse(&number.to_string()).unwrap(), 1, 1).unwrap();
        }
        let connection_guards = || rate.events.load_full().unwrap().0.len();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while connection_guards() > 0 {
            assert!(std::time::Instant::now() < deadline, "{} are kept", connection_guards());
            rate.forget_idle();
        }
    }
}
