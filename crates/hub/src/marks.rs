//! Which workspaces want their mark of live events written. The hub does no I/O: a task takes the workspaces from here, and
//! tells [`Hub::mark_failed`](super::Hub::mark_failed) where a mark could not be written.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use tidings_event::workspace::WorkspaceId;

/// How far beyond its writing a mark reaches. A node that stands still hears a live event late, or never; its clients go elsewhere
/// meanwhile. Where live events come more often than this, they are told all the same. It is also far longer than
/// [`LOOK_PAUSE`](super::look::LOOK_PAUSE) and a read: so a client cannot have gone on meanwhile to an event beyond a mark that it has not
/// seen.
pub const MARK_SLACK: Duration = Duration::from_secs(30);

/// Workspaces in the order in which they came to want a mark; each stands here once, so there are never more than workspaces.
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

    /// The next workspace, without waiting.
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
    async fn workspace_stands_once_until_it_is_taken() {
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
