//! Connections without the password: a bounded share of all. At the bound the oldest one is
//! closed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// This part of `embedded.clients` may be connections that have yet to give the password.
const SHARE: usize = 4;

/// Connections without the password, from the oldest on.
#[derive(Debug)]
pub(crate) struct Unauthenticated {
    most: usize,
    state: Mutex<UnauthenticatedState>,
}

#[derive(Debug, Default)]
struct UnauthenticatedState {
    entered: u64,
    connections: BTreeMap<u64, CancellationToken>,
}

/// A connection's place among those without the password. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct UnauthenticatedPlace {
    all: Arc<Unauthenticated>,
    number: u64,
    closed: CancellationToken,
}

impl Unauthenticated {
    /// Takes a quarter of all connections, at least one.
    pub(crate) fn new(clients_max: usize) -> Arc<Self> {
        Arc::new(Self { most: (clients_max / SHARE).max(1), state: Mutex::default() })
    }

    /// Adds a connection. Closes the oldest one if the share is full: clients send the password at
    /// once, and a connection that only waits must not block them.
    pub(crate) fn enter(self: &Arc<Self>) -> UnauthenticatedPlace {
        let mut state = self.state.lock();
        let number = state.entered;
        state.entered += 1;
        let closed = CancellationToken::new();
        state.connections.insert(number, closed.clone());
        while state.connections.len() > self.most
            && let Some((_, oldest)) = state.connections.pop_first()
        {
            oldest.cancel();
        }
        UnauthenticatedPlace { all: Arc::clone(self), number, closed }
    }

    /// Closes the oldest one. Returns whether there was one.
    pub(crate) fn close_oldest(&self) -> bool {
        let oldest = self.state.lock().connections.pop_first();
        oldest.inspect(|(_, oldest)| oldest.cancel()).is_some()
    }
}

impl UnauthenticatedPlace {
    /// Waits until the connection loses its place. Cancellation safe.
    pub(crate) async fn lost(&self) {
        self.closed.cancelled().await;
    }
}

impl Drop for UnauthenticatedPlace {
    fn drop(&mut self) {
        self.all.state.lock().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn oldest_connection_is_closed_for_the_newest() {
        let all = Unauthenticated::new(8);
        let (first, second) = (all.enter(), all.enter());
        assert_eq!((first.lost().now_or_never(), second.lost().now_or_never()), (None, None));
        let third = all.enter();
        assert_eq!((first.lost().now_or_never(), second.lost().now_or_never()), (Some(()), None));
        drop((second, first));
        let fourth = all.enter();
        assert_eq!((third.lost().now_or_never(), fourth.lost().now_or_never()), (None, None));
        assert!(all.close_oldest() && third.lost().now_or_never().is_some());
        assert!(all.close_oldest() && !all.close_oldest());
    }
}
