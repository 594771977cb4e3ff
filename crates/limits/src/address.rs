//! Counts of connections or streams for each client address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

/// Identifies a client by its address: one IPv4 address, or an IPv6 network of 64 bits.
///
/// A site gets such a network as one and may use all its addresses (RFC 6177). The key has 64 bits,
/// because there may be two for each connection. No site has a network that begins with 32 zeros
/// (RFC 4291 section 2.4), so these keys are free for IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressKey(u64);

/// Reports that an address has reached its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressFull;

/// Below this number of addresses, shrinking the table saves too little memory.
const TABLE_SHRINK_MIN: usize = 1024;

/// Counts the connections or streams of each address against one limit.
#[derive(Debug)]
pub struct AddressCounts {
    /// 0: no limit.
    limit: AtomicU32,
    /// Has at most one key for each connection and stream.
    counts: Mutex<HashMap<AddressKey, u32>>,
}

/// Counts one connection or stream of an address until it is dropped.
#[derive(Debug)]
pub struct AddressPlace {
    key: AddressKey,
    counts: Arc<AddressCounts>,
}

impl AddressKey {
    /// Returns the key of an address. An IPv4-mapped IPv6 address has the key of its IPv4 address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_bits().into()),
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64),
        }
    }
}

impl AddressCounts {
    /// Creates counts that allow `limit` for each address; `None` counts nothing.
    #[must_use]
    pub fn new(limit: Option<NonZeroU32>) -> Arc<Self> {
        Arc::new(Self { limit: AtomicU32::new(number(limit)), counts: Mutex::default() })
    }

    /// Replaces the limit. What has a place keeps it, and what was not counted remains so.
    pub fn set_limit(&self, limit: Option<NonZeroU32>) {
        self.limit.store(number(limit), Ordering::Relaxed);
    }

    /// Counts one more for an address; returns `Ok(None)` without a limit.
    ///
    /// # Errors
    ///
    /// Returns [`AddressFull`] if the address has reached the limit.
    pub fn acquire(self: &Arc<Self>, address: IpAddr) -> Result<Option<AddressPlace>, AddressFull> {
        let Some(limit) = NonZeroU32::new(self.limit.load(Ordering::Relaxed)) else { return Ok(None) };
        let key = AddressKey::of(address);
        let mut counts = self.counts.lock();
        let count = counts.entry(key).or_insert(0);
        if *count >= limit.get() {
            return Err(AddressFull);
        }
        *count += 1;
        Ok(Some(AddressPlace { key, counts: Arc::clone(self) }))
    }

    /// Returns whether no address is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.lock().is_empty()
    }
}

fn number(limit: Option<NonZeroU32>) -> u32 {
    limit.map_or(0, NonZeroU32::get)
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut counts = self.counts.counts.lock();
        let Some(count) = counts.get_mut(&self.key) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.key);
            // After a peak, the table returns its memory.
            if counts.capacity() > TABLE_SHRINK_MIN && counts.len() < counts.capacity() / 4 {
                counts.shrink_to_fit();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_an_ipv4_address_or_an_ipv6_network() {
        let key = |address: &str| AddressKey::of(address.parse().unwrap());
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::3"), key("2001:db8:1:2:ffff::4"));
        assert_ne!(key("2001:db8:1:2::3"), key("2001:db8:1:3::3"));
        assert_eq!(size_of::<AddressPlace>(), 16);
    }

    #[test]
    fn new_limit_holds_for_the_next_place() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let limit = |number| NonZeroU32::new(number);
        let counts = AddressCounts::new(None);
        let uncounted = counts.acquire(address).unwrap();
        assert!(uncounted.is_none());
        counts.set_limit(limit(1));
        let first = counts.acquire(address).unwrap();
        assert_eq!(counts.acquire(address).unwrap_err(), AddressFull);
        counts.set_limit(limit(2));
        let second = counts.acquire(address).unwrap();
        counts.set_limit(None);
        drop((uncounted, first, second));
        assert!(counts.is_empty());
    }
}
