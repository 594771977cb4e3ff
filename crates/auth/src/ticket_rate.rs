//! How many tickets a node issues to one user.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use tidings_event::Identity;
use tidings_limits::Holder;

/// Below this many users their buckets are not worth tidying.
const TIDIED_FROM: usize = 1024;

/// A bucket of tickets for each user, which fills within the lifetime of a ticket.
#[derive(Debug)]
pub(super) struct TicketRate {
    buckets: Option<DefaultKeyedRateLimiter<Holder>>,
    /// At this number of buckets the full ones are dropped.
    tidied_at: AtomicUsize,
}

impl TicketRate {
    /// `most` tickets within `lifetime`; `None`: any number.
    pub(super) fn new(most: Option<NonZeroU32>, lifetime: Duration) -> Self {
        let quota = most.and_then(|most| Some(Quota::with_period(lifetime / most.get())?.allow_burst(most)));
        Self { buckets: quota.map(RateLimiter::keyed), tidied_at: AtomicUsize::new(TIDIED_FROM) }
    }

    /// Counts a ticket. Otherwise returns how long it takes until there may be one.
    pub(super) fn check(&self, identity: &Identity, address: IpAddr) -> Result<(), Duration> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        let holder = Holder::of(identity.keys(), address);
        let outcome = buckets.check_key(&holder);
        self.tidy(buckets);
        outcome.map_err(|not_until| not_until.wait_time_from(DefaultClock::default().now()))
    }

    /// Drops full buckets, once in as many calls as there were users at the last time.
    fn tidy(&self, buckets: &DefaultKeyedRateLimiter<Holder>) {
        if buckets.len() < self.tidied_at.load(Ordering::Relaxed) {
            return;
        }
        buckets.retain_recent();
        buckets.shrink_to_fit();
        self.tidied_at.store(TIDIED_FROM.max(buckets.len().saturating_mul(2)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_event::{TokenId, UserId};

    fn identity(user: Option<&str>, token: Option<&str>) -> Identity {
        let user = user.map(|user| UserId::parse(user).unwrap());
        let token = token.map(|token| TokenId::parse(token).unwrap());
        Identity { user, token, expires: None }
    }

    #[test]
    fn each_user_has_a_number_of_its_own() {
        let rate = TicketRate::new(NonZeroU32::new(2), Duration::from_secs(3600));
        let [home, work] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let ann = identity(Some("ann"), Some("t1"));
        assert_eq!((rate.check(&ann, home), rate.check(&ann, work)), (Ok(()), Ok(())));
        let wait = rate.check(&identity(Some("ann"), Some("t2")), home).unwrap_err();
        assert!(wait > Duration::from_secs(1000) && wait <= Duration::from_secs(1800), "{wait:?}");
        assert_eq!(rate.check(&identity(Some("bob"), None), home), Ok(()));
        // Without a user the token counts, and without its id the address.
        for nobody in [identity(None, Some("t1")), identity(None, None)] {
            assert_eq!((rate.check(&nobody, home), rate.check(&nobody, home)), (Ok(()), Ok(())));
            assert!(rate.check(&nobody, home).is_err());
        }
        assert_eq!(rate.check(&identity(None, None), work), Ok(()));
    }

    #[test]
    fn users_whose_buckets_are_full_are_forgotten() {
        let rate = TicketRate::new(NonZeroU32::new(1000), Duration::from_millis(1000));
        for number in 0..20 * TIDIED_FROM {
            rate.check(&identity(Some(&number.to_string()), None), [127, 0, 0, 1].into()).unwrap();
        }
        let kept = rate.buckets.as_ref().unwrap().len();
        assert!(kept <= 4 * TIDIED_FROM, "{kept}");
    }
}
