//! The rate of tickets for each user.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use tidings_event::Identity;
use tidings_limits::Holder;

/// Below this number of users, removal of full buckets saves too little memory.
const CLEAN_MIN: usize = 1024;

/// Holds a bucket of tickets for each user. A bucket fills within the lifetime of a ticket.
#[derive(Debug)]
pub(super) struct TicketRate {
    buckets: Option<DefaultKeyedRateLimiter<Holder>>,
    /// At this number of buckets, the full ones are removed.
    clean_at: AtomicUsize,
}

impl TicketRate {
    /// Allows `most` tickets within `lifetime`; `None` allows any number.
    pub(super) fn new(most: Option<NonZeroU32>, lifetime: Duration) -> Self {
        let quota = most.and_then(|most| Some(Quota::with_period(lifetime / most.get())?.allow_burst(most)));
        Self { buckets: quota.map(RateLimiter::keyed), clean_at: AtomicUsize::new(CLEAN_MIN) }
    }

    /// Counts a ticket. At the limit, returns the time until the next ticket is allowed.
    pub(super) fn check(&self, identity: &Identity, address: IpAddr) -> Result<(), Duration> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        let holder = Holder::of(identity.keys(), address);
        let outcome = buckets.check_key(&holder);
        self.clean(buckets);
        outcome.map_err(|not_until| not_until.wait_time_from(DefaultClock::default().now()))
    }

    /// Removes full buckets, once in as many calls as there were users the last time.
    fn clean(&self, buckets: &DefaultKeyedRateLimiter<Holder>) {
        if buckets.len() < self.clean_at.load(Ordering::Relaxed) {
            return;
        }
        buckets.retain_recent();
        buckets.shrink_to_fit();
        self.clean_at.store(CLEAN_MIN.max(buckets.len().saturating_mul(2)), Ordering::Relaxed);
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
    fn each_user_has_its_own_limit() {
        let rate = TicketRate::new(NonZeroU32::new(2), Duration::from_secs(3600));
        let [home, work] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let ann = identity(Some("ann"), Some("t1"));
        assert_eq!((rate.check(&ann, home), rate.check(&ann, work)), (Ok(()), Ok(())));
        let wait = rate.check(&identity(Some("ann"), Some("t2")), home).unwrap_err();
        assert!(wait > Duration::from_secs(1000) && wait <= Duration::from_secs(1800), "{wait:?}");
        assert_eq!(rate.check(&identity(Some("bob"), None), home), Ok(()));
        // Without a user the token counts, and without a token the address.
        for anonymous in [identity(None, Some("t1")), identity(None, None)] {
            assert_eq!((rate.check(&anonymous, home), rate.check(&anonymous, home)), (Ok(()), Ok(())));
            assert!(rate.check(&anonymous, home).is_err());
        }
        assert_eq!(rate.check(&identity(None, None), work), Ok(()));
    }

    #[test]
    fn full_buckets_are_removed() {
        let rate = TicketRate::new(NonZeroU32::new(1000), Duration::from_millis(1000));
        for number in 0..20 * CLEAN_MIN {
            rate.check(&identity(Some(&number.to_string()), None), [127, 0, 0, 1].into()).unwrap();
        }
        let kept = rate.buckets.as_ref().unwrap().len();
        assert!(kept <= 4 * CLEAN_MIN, "{kept}");
    }
}
