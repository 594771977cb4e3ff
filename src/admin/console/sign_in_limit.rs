//! The limit on attempts with a wrong token or link. Nothing here has a clock.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The failures of one address within [`WINDOW`] after which it has to wait.
const FAILURES_MAX: usize = 10;

/// The time for which a failure counts.
const WINDOW: Duration = Duration::from_secs(60);

/// Limits the failures in memory, those of all addresses together. The oldest gives way.
const KEPT_MAX: usize = 1024;

/// The failures of the last minute, the oldest first.
#[derive(Debug, Default)]
pub(super) struct SignInLimit(Mutex<VecDeque<(IpAddr, Instant)>>);

impl SignInLimit {
    /// Returns the time until an address may try again; `None` if it may now.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let address = network(address);
        let mut failures = self.0.lock();
        while failures.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) >= WINDOW) {
            failures.pop_front();
        }
        let mut latest = failures.iter().rev().filter(|(of, _)| *of == address);
        let (_, at) = latest.nth(FAILURES_MAX - 1)?;
        Some(WINDOW.saturating_sub(now.saturating_duration_since(*at)))
    }

    /// Counts a failure.
    pub(super) fn add(&self, address: IpAddr, now: Instant) {
        let mut failures = self.0.lock();
        if failures.len() >= KEPT_MAX {
            failures.pop_front();
        }
        failures.push_back((network(address), now));
    }
}

/// The addresses of one client: a single one, or the 64 bits that a network gives to a site (RFC
/// 4291 section 2.5.1).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn failures_of_an_address_make_it_wait_and_end() {
        let (limit, now, bad) = (SignInLimit::default(), Instant::now(), address("192.0.2.1"));
        for second in 0..FAILURES_MAX as u64 {
            assert_eq!(limit.wait(bad, now), None, "{second}");
            limit.add(bad, now + Duration::from_secs(second));
        }
        let at = now + Duration::from_secs(20);
        assert_eq!(limit.wait(bad, at), Some(Duration::from_secs(40)), "until the first one ends");
        assert_eq!(limit.wait(address("192.0.2.2"), at), None);
        assert_eq!(limit.wait(bad, now + WINDOW), None);
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let (limit, now) = (SignInLimit::default(), Instant::now());
        for host in 0..FAILURES_MAX {
            limit.add(address(&format!("2001:db8:0:1::{host:x}")), now);
        }
        assert!(limit.wait(address("2001:db8:0:1:ffff::"), now).is_some());
        assert!(limit.wait(address("2001:db8:0:2::1"), now).is_none());
        for _ in 0..FAILURES_MAX {
            limit.add(address("::ffff:192.0.2.1"), now);
        }
        assert!(limit.wait(address("192.0.2.1"), now).is_some(), "one address in two forms");
    }

    #[test]
    fn memory_is_bounded() {
        let (limit, now) = (SignInLimit::default(), Instant::now());
        for number in 0..=KEPT_MAX as u32 {
            limit.add(IpAddr::V4(number.into()), now);
        }
        assert_eq!(limit.0.lock().len(), KEPT_MAX);
    }
}
