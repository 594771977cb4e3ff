//! The open connections of a listener that closes the oldest one for a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Open connections, in the order of their beginning.
#[derive(Debug, Default)]
pub(super) struct OpenConnections(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    last: u64,
    by_number: BTreeMap<u64, CancellationToken>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    all: Arc<OpenConnections>,
    number: u64,
    closed: CancellationToken,
}

impl OpenConnections {
    /// Registers a connection.
    pub(crate) fn enter(self: &Arc<Self>) -> OpenConnection {
        let closed = CancellationToken::new();
        let mut open = self.0.lock();
        open.last += 1;
        let number = open.last;
        open.by_number.insert(number, closed.clone());
        OpenConnection { all: Arc::clone(self), number, closed }
    }

    /// Closes the connection that has been open for longest.
    pub(super) fn close_oldest(&self) {
        if let Some((_, oldest)) = self.0.lock().by_number.pop_first() {
            oldest.cancel();
        }
    }
}

impl OpenConnection {
    /// Serves the connection until it ends, or is closed for another.
    pub(super) async fn serve(self, serving: impl Future<Output = ()>) {
        let _ = self.closed.run_until_cancelled(serving).await;
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.all.0.lock().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_open_connection_is_closed_first() {
        let all = Arc::<OpenConnections>::default();
        let [first, second, third] = [all.enter(), all.enter(), all.enter()];
        drop(first);
        all.close_oldest();
        assert!(second.closed.is_cancelled() && !third.closed.is_cancelled());
        second.serve(std::future::pending()).await;
        all.close_oldest();
        assert!(third.closed.is_cancelled());
        drop(third);
        assert!(all.0.lock().by_number.is_empty());
    }
}
