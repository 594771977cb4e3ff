//! The memory of all Redis clients: waiting output, pending commands, subscriptions, incomplete
//! input.
//!
//! At the limit the node disconnects the client that holds the most, or rejects the command if
//! that client sent it. Clients that hold little are not affected by others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::listener::output_buffer::OutputBuffer;
use crate::protocol::reply::Reply;

/// A client that holds at most so many bytes is never disconnected for the memory of all.
const SMALL: usize = 64 * 1024;

/// The bound on all clients, and the clients.
#[derive(Debug)]
pub(crate) struct ClientBudget {
    bytes_max: usize,
    /// The memory of clients, shared messages apart.
    owned: AtomicUsize,
    /// The memory of messages that wait for several clients.
    shared: AtomicUsize,
    clients: Mutex<Clients>,
}

#[derive(Debug, Default)]
struct Clients {
    entered: u64,
    outboxes: HashMap<u64, Weak<OutputBuffer>>,
}

/// The memory of one client.
#[derive(Debug)]
pub(crate) struct ClientUsage {
    budget: Arc<ClientBudget>,
    number: u64,
    owned: AtomicUsize,
    /// The bytes of messages that wait for this client, and for others perhaps.
    shared: AtomicUsize,
}

/// Bytes that a client holds; they are given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    usage: Arc<ClientUsage>,
    owned: usize,
    shared: usize,
}

/// Bytes of a message that waits for several clients; they are given back when the last of them
/// has it.
#[derive(Debug)]
pub(crate) struct SharedCharge {
    budget: Arc<ClientBudget>,
    bytes: usize,
}

/// All clients together hold as much as they may, and this one holds the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "all clients of the embedded bus take embedded.clients_bytes together: ask for less, or again when less is under way"
)]
pub(crate) struct OverBudget;

impl From<OverBudget> for Reply {
    fn from(over: OverBudget) -> Self {
        Self::Error(format!("ERR {over}"))
    }
}

impl ClientBudget {
    /// A bound of so many bytes, and no clients.
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            owned: AtomicUsize::new(0),
            shared: AtomicUsize::new(0),
            clients: Mutex::default(),
        })
    }

    /// Counts a message that is to wait for several clients.
    pub(crate) fn share(self: &Arc<Self>, bytes: usize) -> Arc<SharedCharge> {
        self.shared.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(SharedCharge { budget: Arc::clone(self), bytes })
    }

    fn is_exceeded(&self) -> bool {
        let used = self.owned.load(Ordering::Relaxed).saturating_add(self.shared.load(Ordering::Relaxed));
        used > self.bytes_max
    }

    /// Disconnects clients that hold more than this one, the largest first, until the others are
    /// within the limit. The memory of a disconnected client ends with its connection, and no
    /// longer counts here.
    fn evict_larger(&self, wanting: &ClientUsage) -> Result<(), OverBudget> {
        let outboxes: Vec<_> = self.clients.lock().outboxes.values().filter_map(Weak::upgrade).collect();
        loop {
            let staying = outboxes.iter().filter(|output_buffer| !output_buffer.is_disconnected());
            let owned: usize = staying
                .clone()
                .map(|output_buffer| output_buffer.usage().owned.load(Ordering::Relaxed))
                .sum();
            if owned.saturating_add(self.shared.load(Ordering::Relaxed)) <= self.bytes_max {
                return Ok(());
            }
            match staying.max_by_key(|output_buffer| output_buffer.usage().held()) {
                Some(largest) if largest.usage().held() > wanting.held().max(SMALL) => largest.evict(),
                _ if wanting.held() <= SMALL => return Ok(()),
                _ => return Err(OverBudget),
            }
        }
    }
}

impl ClientUsage {
    /// A client that holds nothing yet, and its output buffer.
    pub(crate) fn new(budget: &Arc<ClientBudget>, output_buffer: Weak<OutputBuffer>) -> Arc<Self> {
        let mut clients = budget.clients.lock();
        let number = clients.entered;
        clients.entered += 1;
        clients.outboxes.insert(number, output_buffer);
        let (owned, shared) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { budget: Arc::clone(budget), number, owned, shared })
    }

    /// The bound on all clients.
    pub(crate) fn budget(&self) -> &Arc<ClientBudget> {
        &self.budget
    }

    fn held(&self) -> usize {
        self.owned.load(Ordering::Relaxed).saturating_add(self.shared.load(Ordering::Relaxed))
    }

    /// Holds so many bytes.
    ///
    /// # Errors
    ///
    /// [`OverBudget`], if they are beyond the limit.
    pub(crate) fn try_hold(self: &Arc<Self>, bytes: usize) -> Result<Charge, OverBudget> {
        self.try_hold_shared(bytes, 0)
    }

    /// Holds so many bytes, and so many of a message that others hold too.
    ///
    /// # Errors
    ///
    /// [`OverBudget`], if they are beyond the limit.
    pub(crate) fn try_hold_shared(
        self: &Arc<Self>,
        owned: usize,
        shared: usize,
    ) -> Result<Charge, OverBudget> {
        let charge = self.hold(owned, shared);
        if self.budget.is_exceeded() {
            self.budget.evict_larger(self)?;
        }
        Ok(charge)
    }

    /// Holds so many bytes, also beyond the limit.
    pub(crate) fn hold(self: &Arc<Self>, owned: usize, shared: usize) -> Charge {
        self.owned.fetch_add(owned, Ordering::Relaxed);
        self.budget.owned.fetch_add(owned, Ordering::Relaxed);
        self.shared.fetch_add(shared, Ordering::Relaxed);
        Charge { usage: Arc::clone(self), owned, shared }
    }
}

impl Charge {
    /// Holds so many bytes in the place of those before.
    ///
    /// # Errors
    ///
    /// [`OverBudget`], if they are beyond the limit; the earlier ones stay held.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), OverBudget> {
        match bytes.checked_sub(self.owned) {
            Some(0) => Ok(()),
            Some(more) => {
                let more = self.usage.try_hold(more)?;
                self.absorb(more);
                Ok(())
            }
            None => {
                let less = self.owned - bytes;
                self.owned = bytes;
                drop(Self { usage: Arc::clone(&self.usage), owned: less, shared: 0 });
                Ok(())
            }
        }
    }

    /// Becomes one with another charge of the same client.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.owned += std::mem::take(&mut other.owned);
        self.shared += std::mem::take(&mut other.shared);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.usage.owned.fetch_sub(self.owned, Ordering::Relaxed);
        self.usage.budget.owned.fetch_sub(self.owned, Ordering::Relaxed);
        self.usage.shared.fetch_sub(self.shared, Ordering::Relaxed);
    }
}

impl Drop for SharedCharge {
    fn drop(&mut self) {
        self.budget.shared.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for ClientUsage {
    fn drop(&mut self) {
        self.budget.clients.lock().outboxes.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::reply::SharedReply;

    const KIB: usize = 1024;

    #[test]
    fn largest_client_is_rejected_and_others_are_served() {
        let budget = ClientBudget::new(1024 * KIB);
        let (large, small) =
            (OutputBuffer::within(&budget, usize::MAX), OutputBuffer::within(&budget, usize::MAX));
        let held = large.usage().try_hold(900 * KIB).unwrap();
        assert_eq!(large.usage().try_hold(200 * KIB).unwrap_err(), OverBudget);
        assert!(!large.is_disconnected());
        let other = small.usage().try_hold(200 * KIB).unwrap();
        assert!(large.is_disconnected() && !small.is_disconnected());
        drop((held, other));
        assert_eq!(budget.owned.load(Ordering::Relaxed), 0);
        drop((large, small));
        assert!(budget.clients.lock().outboxes.is_empty());
    }

    #[test]
    fn small_client_is_never_rejected() {
        let budget = ClientBudget::new(10 * KIB);
        let clients: Vec<_> = (0..8).map(|_| OutputBuffer::within(&budget, usize::MAX)).collect();
        let charges: Vec<_> = clients.iter().map(|client| client.usage().try_hold(SMALL).unwrap()).collect();
        assert!(clients.iter().all(|client| !client.is_disconnected()));
        assert!(clients[0].usage().try_hold(1).is_err());
        drop(charges);
    }

    #[test]
    fn message_for_many_counts_once() {
        let budget = ClientBudget::new(1024 * KIB);
        let clients: Vec<_> = (0..100).map(|_| OutputBuffer::within(&budget, usize::MAX)).collect();
        let message = SharedReply::new(Reply::Bulk(Bytes::from(vec![b'x'; 256 * KIB])));
        for client in &clients {
            client.broadcast(&message);
        }
        drop(message);
        assert!(clients.iter().all(|client| !client.is_disconnected()));
        let used = budget.shared.load(Ordering::Relaxed);
        assert!((256 * KIB..257 * KIB).contains(&used), "{used}");
        drop(clients);
        assert_eq!((budget.shared.load(Ordering::Relaxed), budget.owned.load(Ordering::Relaxed)), (0, 0));
    }
}
