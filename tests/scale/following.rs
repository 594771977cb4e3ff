//! Whether each client of a crowd gets each event once and in order, and how long it gets none.

use std::time::{Duration, Instant};

use super::client::Sight;
use super::clients::Seen;

/// What some clients have seen of the events of a workspace, which are numbered.
#[derive(Debug)]
pub(crate) struct Following {
    /// For each client: the number that is next, if it had one, and when it had the one before.
    next: Vec<Option<(u64, Instant)>>,
    events: u64,
    longest_gap: Duration,
}

impl Following {
    /// So many clients that had nothing yet.
    pub(crate) fn of(clients: usize) -> Self {
        Self { next: vec![None; clients], events: 0, longest_gap: Duration::ZERO }
    }

    /// One client that has had an event, and resumes behind it.
    pub(crate) fn after(number: u64) -> Self {
        Self { next: vec![Some((number + 1, Instant::now()))], ..Self::of(1) }
    }

    /// Takes note. Fails the test when an event is missing, or repeated, or out of order.
    pub(crate) fn see(&mut self, Seen { client, what, at }: Seen) {
        match what {
            Sight::Connected | Sight::Heartbeat => {}
            Sight::Event(number) => {
                if let Some((next, before)) = self.next[client] {
                    assert_eq!(number, next, "client {client}");
                    self.longest_gap = self.longest_gap.max(at.saturating_duration_since(before));
                }
                self.next[client] = Some((number + 1, at));
                self.events += 1;
            }
            what => panic!("client {client}: {what:?}"),
        }
    }

    /// Whether all have everything up to a number.
    pub(crate) fn all_have(&self, total: u64) -> bool {
        self.next.iter().all(|next| next.is_some_and(|(next, _)| next == total))
    }

    /// How many events came, of all clients together.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// The longest time between two events of one client.
    pub(crate) fn longest_gap(&self) -> Duration {
        self.longest_gap
    }
}
