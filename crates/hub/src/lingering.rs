//! Workspaces without subscribers, which are released if the hub is full.

use std::collections::VecDeque;

use parking_lot::Mutex;

use tidings_event::workspace::WorkspaceId;

/// The workspaces whose last subscriber left, in that order, each once at most. A workspace that
/// has subscribers again remains in the list until it is taken or released.
#[derive(Debug, Default)]
pub(super) struct Lingering(Mutex<VecDeque<WorkspaceId>>);

impl Lingering {
    /// Adds a workspace whose last subscriber left and that is not in the list.
    pub(super) fn add(&self, id: &WorkspaceId) {
        self.0.lock().push_back(id.clone());
    }

    /// Takes the workspace that has been in the list for longest.
    pub(super) fn take(&self) -> Option<WorkspaceId> {
        self.0.lock().pop_front()
    }

    /// Keeps the workspaces that `keep` accepts.
    pub(super) fn retain(&self, keep: impl FnMut(&WorkspaceId) -> bool) {
        let mut list = self.0.lock();
        list.retain(keep);
        if list.len() < list.capacity() / 4 {
            list.shrink_to_fit();
        }
    }
}
