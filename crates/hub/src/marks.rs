//! The workspaces whose mark of live events has to be written. The hub does no I/O: a task takes
//! the workspaces from here, and calls [`Hub::mark_failed`](super::Hub::mark_failed) if it could
//! not write a mark.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use tidings_event::workspace::WorkspaceId;

/// The time for which a mark is valid after it was written. A node that is suspended receives a
/// live event late or never, and its clients go to other nodes meanwhile. If live events come more
/// often than this, such clients get a reset all the same.
///
/// It is also far longer than [`LOOK_PAUSE`](super::look::LOOK_PAUSE) and a read. So a client
/// cannot go on meanwhile to an event beyond a mark that the node has not read.
pub const MARK_SLACK: Duration = Duration::from_secs(30);

/// The workspaces in the order of their requests; each is in the list once, so their number is
/// bounded.
#[derive(Debug, Default)]
pub struct Marks {
    wanted: Mutex<Wanted>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    order: VecDeque<WorkspaceId>,
    members: HashSet<WorkspaceId>,
}

impl Marks {
    pub(super) fn push(&self, workspace: &WorkspaceId) {
        let mut wanted = self.wanted.lock();
        if wanted.members.insert(workspace.clone()) {
            wanted.order.push_back(workspace.clone());
        }
        drop(wanted);
        self.added.notify_one();
    }

    /// Takes the next workspace without waiting.
    pub fn take(&self) -> Option<WorkspaceId> {
        let mut wanted = self.wanted.lock();
        let workspace = wanted.order.pop_front()?;
        wanted.members.remove(&workspace);
        if wanted.order.is_empty() {
            *wanted = Wanted::default();
        }
        Some(workspace)
    }

    /// Waits for the next workspace. Cancellation safe; for one waiter.
    pub async fn next(&self) -> WorkspaceId {
        loop {
            if let Some(workspace) = self.take() {
                return workspace;
            }
            self.added.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn workspace_is_listed_once_until_it_is_taken() {
        let marks = Marks::default();
        let [a, b] = ["a", "b"].map(|id| WorkspaceId::parse(id).unwrap());
        for id in [&a, &b, &a] {
            marks.push(id);
        }
        assert_eq!((marks.next().await, marks.take(), marks.take()), (a.clone(), Some(b), None));
        marks.push(&a);
        assert_eq!(marks.next().await, a);
    }
}
