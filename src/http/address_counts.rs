//! How many connections or streams each client address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use parking_lot::Mutex;

use super::admission::Surplus;
use super::client_address::AddressKey;

/// Below this many addresses their table is not worth shrinking.
const TABLE_KEPT: usize = 1024;

/// Counts what each address has against one bound for all.
#[derive(Debug)]
pub(super) struct AddressCounts {
    most: Option<NonZeroU32>,
    /// Holds no more keys than there are connections and streams.
    counts: Mutex<HashMap<AddressKey, u32>>,
}

/// One place of an address, until it is dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    key: AddressKey,
    counts: Arc<AddressCounts>,
}

impl AddressCounts {
    /// Counts up to `most` for each address; without a bound nothing is counted.
    pub(super) fn new(most: Option<NonZeroU32>) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    /// Takes a place of an address, if it has one left; `Ok(None)` where there is no bound.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Option<AddressPlace>, Surplus> {
        let Some(most) = self.most else { return Ok(None) };
        let key = AddressKey::of(address);
        let mut counts = self.counts.lock();
        let count = counts.entry(key).or_insert(0);
        if *count >= most.get() {
            return Err(Surplus::Address);
        }
        *count += 1;
        Ok(Some(AddressPlace { key, counts: Arc::clone(self) }))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
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
