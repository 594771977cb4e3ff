//! What the hub wants read of logs. The hub does no I/O: whoever does takes the wishes from here and brings the answers to
//! [`Hub::answer`](super::Hub::answer).

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::bus::Span;
use crate::workspace::WorkspaceId;

/// One wish out of so many is one of clients that come back, where there is one.
const SHARE: usize = 4;

/// A wish to have a part of a workspace's log read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRead {
    /// Whose log.
    pub workspace: WorkspaceId,
    /// Which part.
    pub span: Span,
    /// How long to wait before it is read.
    pub pause: Duration,
    /// Which life of the workspace on this node asked. What a former one was answered is older than its successor's
    /// subscription.
    pub(super) incarnation: u64,
    /// Who asked.
    pub(super) asker: Asker,
}

/// Who asked for a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// The workspace itself, to catch up; the number tells an answer that is still wanted from one that is not.
    Workspace(u64),
    /// Subscribers that come back.
    Replay,
    /// The workspace, after its subscription was confirmed: have live events been marked meanwhile?
    Look {
        /// Which look it is.
        number: u64,
    },
}

/// Wishes in order. A workspace has one at a time for itself, and one for each place that subscribers come back to; so there
/// are never more than workspaces and subscribers.
#[derive(Debug, Default)]
pub struct Reads {
    wishes: Mutex<Wishes>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Wishes {
    /// Live subscribers wait for these.
    of_workspaces: VecDeque<LogRead>,
    /// Clients that come back wait for these.
    of_replays: VecDeque<LogRead>,
    /// How many of the former were taken since one of the latter was.
    in_row: usize,
}

impl Reads {
    pub(super) fn push(&self, read: LogRead) {
        let mut wishes = self.wishes.lock();
        match read.asker {
            Asker::Workspace(_) => wishes.of_workspaces.push_back(read),
            Asker::Replay | Asker::Look { .. } => wishes.of_replays.push_back(read),
        }
        drop(wishes);
        self.added.notify_one();
    }

    /// The next wish, without waiting. What live subscribers wait for comes first, but each [`SHARE`]th wish is one of clients that
    /// come back, so that workspaces which want one read after the other hold up nobody else.
    pub fn take(&self) -> Option<LogRead> {
        let mut wishes = self.wishes.lock();
        if wishes.in_row < SHARE - 1
            && let Some(read) = wishes.of_workspaces.pop_front()
        {
            wishes.in_row += 1;
            return Some(read);
        }
        wishes.in_row = 0;
        wishes.of_replays.pop_front().or_else(|| wishes.of_workspaces.pop_front())
    }

    /// Waits for the next wish. Cancellation safe; for one waiter.
    pub async fn next(&self) -> LogRead {
        loop {
            if let Some(read) = self.take() {
                return read;
            }
            self.added.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(asker: Asker) -> LogRead {
        let workspace = WorkspaceId::parse("acme").unwrap();
        LogRead { workspace, span: Span::Head, pause: Duration::ZERO, incarnation: 0, asker }
    }

    #[test]
    fn workspaces_that_read_without_end_hold_up_no_client() {
        let reads = Reads::default();
        (0..100).for_each(|ticket| reads.push(read(Asker::Workspace(ticket))));
        reads.push(read(Asker::Replay));
        let before = std::iter::from_fn(|| reads.take()).take_while(|read| read.asker != Asker::Replay);
        assert_eq!(before.count(), SHARE - 1);
        assert_eq!(std::iter::from_fn(|| reads.take()).count(), 100 - (SHARE - 1));
    }
}
