//! How many connections or streams each client address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use parking_lot::Mutex;

/// What a client is counted by: a single IPv4 address, or the IPv6 network of 64 bits that a site gets as one and
/// within which it may use any address (RFC 6177). In 64 bits, as there may be two for each connection: no site has
/// an IPv6 network that begins with 32 zeros (RFC 4291 section 2.4), so these stand for IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressKey(u64);

/// An address has as many places as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressFull;

/// Below this many addresses their table is not worth shrinking.
const TABLE_KEPT: usize = 1024;

/// Counts what each address has against one bound for all.
#[derive(Debug)]
pub struct AddressCounts {
    most: Option<NonZeroU32>,
    /// Holds no more keys than there are connections and streams.
    counts: Mutex<HashMap<AddressKey, u32>>,
}

/// One place of an address, until it is dropped.
#[derive(Debug)]
pub struct AddressPlace {
    key: AddressKey,
    counts: Arc<AddressCounts>,
}

impl AddressKey {
    /// The key of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_bits().into()),
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64),
        }
    }
}

impl AddressCounts {
    /// Counts up to `most` for each address; without a bound nothing is counted.
    #[must_use]
    pub fn new(most: Option<NonZeroU32>) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    /// Takes a place of an address, if it has one left; `Ok(None)` where there is no bound.
    ///
    /// # Errors
    ///
    /// [`AddressFull`], when it has none left.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Option<AddressPlace>, AddressFull> {
        let Some(most) = self.most else { return Ok(None) };
        let key = AddressKey::of(address);
        let mut counts = self.counts.lock();
        let count = counts.entry(key).or_insert(0);
        if *count >= most.get() {
            return Err(AddressFull);
        }
        *count += 1;
        Ok(Some(AddressPlace { key, counts: Arc::clone(self) }))
    }

    /// Whether no address has a place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.lock().is_empty()
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut counts = self.counts.counts.lock();
        let Some(count) = counts.get_mut(&self.key) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.key);
            // A crowd that has left leaves no memory behind.
            if counts.capacity() > TABLE_KEPT && counts.len() < counts.capacity() / 4 {
                counts.shrink_to_fit();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_counted_by_what_one_of_them_has() {
        let key = |address: &str| AddressKey::of(address.parse().unwrap());
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::3"), key("2001:db8:1:2:ffff::4"));
        assert_ne!(key("2001:db8:1:2::3"), key("2001:db8:1:3::3"));
        assert_eq!(size_of::<AddressPlace>(), 16);
    }
}
