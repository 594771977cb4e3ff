//! The workspaces to which the hub wants the bus to be subscribed.

use std::collections::HashMap;
use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::workspace::WorkspaceId;

/// Holds the wanted workspaces and the changes that the bus has not taken yet.
///
/// Changes to one workspace coalesce. A workspace that is wanted and released between two calls of
/// [`take_changes`](Self::take_changes) leaves no change. So the changes are bounded by the wanted
/// workspaces and those to which the bus is subscribed.
#[derive(Debug, Default)]
pub struct DesiredSubscriptions {
    state: Mutex<DesiredState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct DesiredState {
    wanted: HashSet<WorkspaceId>,
    /// The workspaces that the bus has taken as wanted and not as released since.
    known: HashSet<WorkspaceId>,
    changes: HashMap<WorkspaceId, SubscriptionChange>,
}

/// The work of a bus for one workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// Subscribe. If the subscription exists, confirm it again, because the caller has not seen the
    /// first confirmation.
    Want,
    /// End the subscription, if it exists.
    Release,
}

impl DesiredSubscriptions {
    /// Adds a workspace. Does not block on the bus.
    pub fn want(&self, workspace: &WorkspaceId) {
        let mut state = self.state.lock();
        state.wanted.insert(workspace.clone());
        state.changes.insert(workspace.clone(), SubscriptionChange::Want);
        drop(state);
        self.changed.notify_one();
    }

    /// Removes a workspace. Does not block on the bus.
    pub fn release(&self, workspace: &WorkspaceId) {
        let mut state = self.state.lock();
        state.wanted.remove(workspace);
        if state.known.contains(workspace) {
            state.changes.insert(workspace.clone(), SubscriptionChange::Release);
        } else {
            // The bus has not taken the change yet, so it has nothing to undo.
            state.changes.remove(workspace);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Waits until there are changes. Cancellation safe; supports one waiter.
    pub async fn changed(&self) {
        loop {
            if !self.state.lock().changes.is_empty() {
                return;
            }
            self.changed.notified().await;
        }
    }

    /// Returns and removes the changes since the last call, at most one for each workspace, in no
    /// order.
    pub fn take_changes(&self) -> HashMap<WorkspaceId, SubscriptionChange> {
        let mut state = self.state.lock();
        let changes = std::mem::take(&mut state.changes);
        for (workspace, change) in &changes {
            match change {
                SubscriptionChange::Want => state.known.insert(workspace.clone()),
                SubscriptionChange::Release => state.known.remove(workspace),
            };
        }
        changes
    }

    /// Returns all wanted workspaces and removes the changes, for a bus with a new link.
    pub fn take_all(&self) -> Vec<WorkspaceId> {
        let mut state = self.state.lock();
        state.changes.clear();
        state.known = state.wanted.clone();
        state.wanted.iter().cloned().collect()
    }

    /// Returns the number of wanted workspaces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.lock().wanted.len()
    }

    /// Returns whether no workspace is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(text: &str) -> WorkspaceId {
        WorkspaceId::parse(text).unwrap()
    }

    /// The last change of a workspace decides whether the bus is to be subscribed.
    #[test]
    fn last_change_of_a_workspace_counts() {
        let desired_subscriptions = DesiredSubscriptions::default();
        desired_subscriptions.want(&workspace("a"));
        desired_subscriptions.take_changes();
        desired_subscriptions.want(&workspace("b"));
        desired_subscriptions.release(&workspace("a"));
        let changes = desired_subscriptions.take_changes();
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[&workspace("a")], SubscriptionChange::Release);
        assert_eq!(changes[&workspace("b")], SubscriptionChange::Want);
        assert!(desired_subscriptions.take_changes().is_empty());
        assert_eq!(desired_subscriptions.take_all(), [workspace("b")]);
    }

    /// A workspace that is released and wanted again is confirmed again.
    #[test]
    fn released_and_wanted_again_is_confirmed_again() {
        let desired_subscriptions = DesiredSubscriptions::default();
        desired_subscriptions.want(&workspace("a"));
        desired_subscriptions.take_changes();
        desired_subscriptions.release(&workspace("a"));
        desired_subscriptions.want(&workspace("a"));
        assert_eq!(desired_subscriptions.take_changes()[&workspace("a")], SubscriptionChange::Want);
    }

    #[test]
    fn change_and_its_undo_leave_nothing_behind() {
        let desired_subscriptions = DesiredSubscriptions::default();
        for number in 0..1000 {
            desired_subscriptions.want(&workspace(&number.to_string()));
            desired_subscriptions.release(&workspace(&number.to_string()));
        }
        assert!(desired_subscriptions.take_changes().is_empty());
        assert!(desired_subscriptions.is_empty());
    }

    #[tokio::test]
    async fn change_before_the_wait_ends_the_wait() {
        let desired_subscriptions = DesiredSubscriptions::default();
        desired_subscriptions.want(&workspace("a"));
        desired_subscriptions.changed().await;
        assert_eq!(desired_subscriptions.len(), 1);
    }
}
