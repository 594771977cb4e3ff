//! Which workspaces a node wants to hear of.

use std::collections::HashMap;
use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::workspace::WorkspaceId;

/// The set of workspaces that are wanted, and what changed in it since the bus last looked.
///
/// Changes to the same workspace coalesce, and what comes and goes before the bus has heard of it leaves nothing behind;
/// so what waits here is bounded by the workspaces that are wanted and those that the bus subscribes to.
#[derive(Debug, Default)]
pub struct DesiredSubscriptions {
    state: Mutex<DesiredState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct DesiredState {
    wanted: HashSet<WorkspaceId>,
    /// What the bus was told to want, and not to release since.
    known: HashSet<WorkspaceId>,
    changes: HashMap<WorkspaceId, SubscriptionChange>,
}

/// What a bus has to do for a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// Subscribe, or, where the subscription stands already, confirm it again: whoever wants it has not seen the first
    /// confirmation.
    Want,
    /// End the subscription, if it stands.
    Release,
}

impl DesiredSubscriptions {
    /// A workspace is wanted from now on. Never blocks.
    pub fn want(&self, workspace: &WorkspaceId) {
        let mut state = self.state.lock();
        state.wanted.insert(workspace.clone());
        state.changes.insert(workspace.clone(), SubscriptionChange::Want);
        drop(state);
        self.changed.notify_one();
    }

    /// A workspace is no longer wanted. Never blocks.
    pub fn release(&self, workspace: &WorkspaceId) {
        let mut state = self.state.lock();
        state.wanted.remove(workspace);
        if state.known.contains(workspace) {
            state.changes.insert(workspace.clone(), SubscriptionChange::Release);
        } else {
            // The bus has not heard of it yet, and need not.
            state.changes.remove(workspace);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Waits until there are changes. Cancellation safe; meant for one waiter.
    pub async fn changed(&self) {
        loop {
            if !self.state.lock().changes.is_empty() {
                return;
            }
            self.changed.notified().await;
        }
    }

    /// Takes the changes since the last call, one for each workspace, in no order.
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

    /// All that is wanted now; changes up to here are thereby taken. For a bus that begins anew.
    pub fn take_all(&self) -> Vec<WorkspaceId> {
        let mut state = self.state.lock();
        state.changes.clear();
        state.known = state.wanted.clone();
        state.wanted.iter().cloned().collect()
    }

    /// How many workspaces are wanted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.lock().wanted.len()
    }

    /// Whether nothing is wanted.
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
    fn the_last_change_of_a_workspace_counts() {
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
    fn what_comes_and_goes_while_nobody_looks_leaves_nothing_behind() {
        let desired_subscriptions = DesiredSubscriptions::default();
        for number in 0..1000 {
            desired_subscriptions.want(&workspace(&number.to_string()));
            desired_subscriptions.release(&workspace(&number.to_string()));
        }
        assert!(desired_subscriptions.take_changes().is_empty());
        assert!(desired_subscriptions.is_empty());
    }

    #[tokio::test]
    async fn a_change_before_the_wait_ends_the_wait() {
        let desired_subscriptions = DesiredSubscriptions::default();
        desired_subscriptions.want(&workspace("a"));
        desired_subscriptions.changed().await;
        assert_eq!(desired_subscriptions.len(), 1);
    }
}
