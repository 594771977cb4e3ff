//! The memory of request bodies while they are received and published.
//!
//! A request waits before the node reads its body, so the body stays with the client until memory
//! is free. A request reserves memory for its whole body at once. So each body that the node has
//! begun to read can be read to its end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{AddressKey, Holder};
use tidings_event::Keys;

/// The unit of the permits in bytes, because a semaphore counts them in 32 bits.
const UNIT: usize = 1024;

/// How often a body counts: once as received, once as sent to the bus.
const COPIES: usize = 2;

/// The least ratio of the limit for all bodies to the largest body. A client may use a quarter of
/// the limit, and a body counts twice.
pub const LARGEST_BODIES_MIN: usize = 4 * COPIES;

/// Bounds the memory of bodies: in total, for each client, and for each address.
///
/// A client may use a quarter of the limit, all clients of an address half of it. The last quarter
/// is reserved for addresses that use at most a sixty-fourth. So a few addresses at their limit do
/// not delay the others.
#[derive(Debug)]
pub struct BodyBudget {
    bytes_max: usize,
    common: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    shares: Mutex<HashMap<Holder, BodyShare>>,
}

/// The memory of one client or address. Only clients with a request that waits or is read have one.
#[derive(Debug)]
struct BodyShare {
    permits: Arc<Semaphore>,
    uses: usize,
}

/// One use of a share, until it is dropped.
#[derive(Debug)]
struct ShareUse {
    budget: Arc<BodyBudget>,
    holder: Holder,
    permits: Arc<Semaphore>,
}

/// Reserves memory for one body until it is dropped.
#[derive(Debug)]
pub struct BodyReservation {
    // Fields drop in this order: the permits return before the share is removed.
    permits: [Option<OwnedSemaphorePermit>; 3],
    _uses: [Option<ShareUse>; 2],
}

impl BodyReservation {
    /// The reserved memory in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.permits[2].as_ref().map_or(0, |permit| permit.num_permits() * UNIT)
    }
}

impl BodyBudget {
    /// Creates a budget of `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Arc<Self> {
        let spare = bytes_max / 4;
        Arc::new(Self {
            bytes_max,
            common: Arc::new(Semaphore::new((bytes_max - spare) / UNIT)),
            spare: Arc::new(Semaphore::new(spare / UNIT)),
            shares: Mutex::default(),
        })
    }

    /// Waits until there is memory for a body of `bytes` bytes.
    ///
    /// The request waits in turn behind its client's, its address's and all other requests. A body
    /// larger than the share of a client waits until the client has no other body. Cancellation
    /// safe: a dropped future reserves nothing.
    pub async fn reserve(self: &Arc<Self>, keys: Keys, address: IpAddr, bytes: usize) -> BodyReservation {
        let of_client = self.share(Holder::of(keys, address), self.bytes_max / 4);
        let of_address = Holder::Address(AddressKey::of(address));
        let of_address = (of_client.holder != of_address).then(|| self.share(of_address, self.bytes_max / 2));
        let count = bytes.saturating_mul(COPIES).div_ceil(UNIT).clamp(1, self.bytes_max / 4 / UNIT);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let client = acquire(&of_client.permits, count).await;
        let (permits, size, address) = match &of_address {
            Some(share) => (&share.permits, self.bytes_max / 2, acquire(&share.permits, count).await),
            None => (&of_client.permits, self.bytes_max / 4, None),
        };
        let is_small = size / UNIT - permits.available_permits() <= self.bytes_max / 64 / UNIT;
        let all = tokio::select! {
            biased;
            permit = acquire(&self.common, count) => permit,
            permit = acquire(&self.spare, count), if is_small => permit,
        };
        BodyReservation { permits: [client, address, all], _uses: [Some(of_client), of_address] }
    }

    fn share(self: &Arc<Self>, holder: Holder, bytes: usize) -> ShareUse {
        let mut shares = self.shares.lock();
        let new = || BodyShare { permits: Arc::new(Semaphore::new(bytes / UNIT)), uses: 0 };
        let share = shares.entry(holder).or_insert_with(new);
        share.uses += 1;
        ShareUse { budget: Arc::clone(self), holder, permits: Arc::clone(&share.permits) }
    }
}

/// Waits for permits; `None` cannot happen, because the semaphores are never closed.
async fn acquire(permits: &Arc<Semaphore>, count: u32) -> Option<OwnedSemaphorePermit> {
    Arc::clone(permits).acquire_many_owned(count).await.ok()
}

impl Drop for ShareUse {
    fn drop(&mut self) {
        let mut shares = self.budget.shares.lock();
        let Some(share) = shares.get_mut(&self.holder) else { return };
        share.uses -= 1;
        if share.uses == 0 {
            shares.remove(&self.holder);
        }
        if shares.is_empty() {
            *shares = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests;
