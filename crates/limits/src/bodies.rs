//! The memory that bodies of requests take while they are received and published.
//!
//! A request waits here before its body is read, so what it may bring stays with the client until there is room. Room is taken
//! at once for the whole body: of bodies that are being read, each can be read to its end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{AddressKey, Holder};
use tidings_event::Keys;

/// What is counted, in bytes: permits are numbers of 32 bits.
const UNIT: usize = 1024;

/// A body counts so many times: as it came, and as it goes to the bus.
const COPIES: usize = 2;

/// The bound on all bodies has to be so many times the largest body: a client has a quarter of it, and a body counts twice.
pub const LARGEST_BODIES_MIN: usize = 4 * COPIES;

/// Room for bodies: in all, for each client, and for each address.
///
/// A client has a quarter of the whole, and all clients of an address half. The last quarter is kept for addresses that take no more
/// than a sixty-fourth, so that a few which take all they may do not keep others waiting.
#[derive(Debug)]
pub struct BodyBudget {
    bytes_max: usize,
    common: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    shares: Mutex<HashMap<Holder, BodyShare>>,
}

/// The room of one client or address. There are no more than requests that wait or are read.
#[derive(Debug)]
struct BodyShare {
    room: Arc<Semaphore>,
    uses: usize,
}

/// A use of a share, until it is dropped.
#[derive(Debug)]
struct Use {
    budget: Arc<BodyBudget>,
    holder: Holder,
    room: Arc<Semaphore>,
}

/// Room for one body, until it is dropped.
#[derive(Debug)]
pub struct BodyRoom {
    // Dropped in this order: room is given back before the share that it belongs to is forgotten.
    _permits: [Option<OwnedSemaphorePermit>; 3],
    _uses: [Option<Use>; 2],
}

impl BodyBudget {
    /// Room for `bytes_max` bytes in all.
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

    /// Waits for room for a body of so many bytes; first in the line of its client, then in that of its address, then in that of
    /// all. Cancellation safe: who does not wait any more takes nothing. A body larger than a client's share waits until the
    /// client has no other.
    pub async fn enter(self: &Arc<Self>, keys: Keys, address: IpAddr, bytes: usize) -> BodyRoom {
        let of_client = self.share(Holder::of(keys, address), self.bytes_max / 4);
        let of_address = Holder::Address(AddressKey::of(address));
        let of_address = (of_client.holder != of_address).then(|| self.share(of_address, self.bytes_max / 2));
        let count = bytes.saturating_mul(COPIES).div_ceil(UNIT).clamp(1, self.bytes_max / 4 / UNIT);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let client = take(&of_client.room, count).await;
        let (room, size, address) = match &of_address {
            Some(share) => (&share.room, self.bytes_max / 2, take(&share.room, count).await),
            None => (&of_client.room, self.bytes_max / 4, None),
        };
        let is_small = size / UNIT - room.available_permits() <= self.bytes_max / 64 / UNIT;
        let all = tokio::select! {
            biased;
            permit = take(&self.common, count) => permit,
            permit = take(&self.spare, count), if is_small => permit,
        };
        BodyRoom { _permits: [client, address, all], _uses: [Some(of_client), of_address] }
    }

    fn share(self: &Arc<Self>, holder: Holder, bytes: usize) -> Use {
        let mut shares = self.shares.lock();
        let new = || BodyShare { room: Arc::new(Semaphore::new(bytes / UNIT)), uses: 0 };
        let share = shares.entry(holder).or_insert_with(new);
        share.uses += 1;
        Use { budget: Arc::clone(self), holder, room: Arc::clone(&share.room) }
    }
}

/// Waits for so much of some room. The semaphores are never closed.
async fn take(room: &Arc<Semaphore>, count: u32) -> Option<OwnedSemaphorePermit> {
    Arc::clone(room).acquire_many_owned(count).await.ok()
}

impl Drop for Use {
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
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use tidings_event::UserId;

    const MIB: usize = 1 << 20;

    fn user(name: &str) -> Keys {
        Keys { user: Some(UserId::parse(name).unwrap().key()), token: None }
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// Room for bodies, as many as get it at once.
    fn taken(budget: &Arc<BodyBudget>, keys: Keys, from: u8, bytes: usize) -> Vec<BodyRoom> {
        std::iter::from_fn(|| budget.enter(keys, address(from), bytes).now_or_never()).collect()
    }

    #[test]
    fn client_has_a_quarter_and_an_address_half() {
        let budget = BodyBudget::new(64 * MIB);
        let ann = taken(&budget, user("ann"), 1, MIB);
        assert_eq!(ann.len(), 8, "each counts twice");
        assert_eq!(taken(&budget, user("ann"), 2, MIB).len(), 0, "wherever the user comes from");
        let ben = taken(&budget, user("ben"), 1, MIB);
        assert_eq!((ben.len(), taken(&budget, user("cid"), 1, MIB).len()), (8, 0));
        let nobody = taken(&budget, Keys::default(), 2, MIB);
        assert_eq!(nobody.len(), 8);
        drop(ann);
        assert_eq!(taken(&budget, user("ann"), 1, MIB).len(), 8);
        drop((ben, nobody));
        assert!(budget.shares.lock().is_empty());
    }

    #[test]
    fn few_addresses_that_take_all_keep_no_small_body_waiting() {
        let budget = BodyBudget::new(64 * MIB);
        let held: Vec<_> = (0..10).flat_map(|from| taken(&budget, Keys::default(), from, MIB)).collect();
        assert_eq!(held.len(), 24, "three quarters of it");
        let small = taken(&budget, Keys::default(), 77, MIB / 4);
        assert_eq!(small.len(), 2, "a sixty-fourth of it");
        assert_eq!(taken(&budget, Keys::default(), 1, MIB / 4).len(), 0, "who has much waits");
        assert_eq!(taken(&budget, user("ann"), 78, MIB / 4).len(), 2);
    }

    #[test]
    fn body_of_any_size_gets_room_alone() {
        let budget = BodyBudget::new(MIB);
        let all = taken(&budget, Keys::default(), 1, usize::MAX);
        assert_eq!(all.len(), 1);
        assert_eq!(taken(&budget, Keys::default(), 1, 0).len(), 0);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing() {
        let budget = BodyBudget::new(64 * MIB);
        let held = taken(&budget, Keys::default(), 1, MIB);
        let waiting = budget.enter(Keys::default(), address(1), MIB);
        let patience = std::time::Duration::from_millis(5);
        assert!(tokio::time::timeout(patience, waiting).await.is_err());
        drop(held);
        assert!(budget.shares.lock().is_empty());
        assert_eq!(taken(&budget, Keys::default(), 1, MIB).len(), 8);
    }
}
