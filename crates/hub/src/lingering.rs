//! Workspaces without subscribers, which make room when the hub is full.

use std::collections::VecDeque;

use parking_lot::Mutex;

use tidings_event::workspace::WorkspaceId;

/// The workspaces whose last subscriber left, in the order in which that happened. Each stands here once at most; one to which
/// somebody has come back stands here until it is taken or leaves the map.
#[derive(Debug, Default)]
pub(super) struct Lingering(Mutex<VecDeque<WorkspaceId>>);

impl Lingering {
    /// The last subscriber of a workspace left, and it does not stand here yet.
    pub(super) fn add(&self, id: &WorkspaceId) {
        self.0.lock().push_back(id.clone());
    }

    /// Takes the one that has been here for longest.
    pub(super) fn take(&self) -> Option<WorkspaceId> {
        self.0.lock().pop_front()
    }

    /// Keeps those that pass.
    pub(super) fn retain(&self, keep: impl FnMut(&WorkspaceId) -> bool) {
        let mut list = self.0.lock();
        list.retain(keep);
        if list.len() < list.capacity() / 4 {
            list.shrink_to_fit();
        }
    }
}
