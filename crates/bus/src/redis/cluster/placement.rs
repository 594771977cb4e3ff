//! Decides which session has the subscription of each workspace: that of the owner of its slot.
//!
//! A workspace changes its session in two steps. The former one gives it back and makes no more
//! calls for it; then the new one gets it. So the calls for a workspace keep their order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::session;
use super::shard::{ClusterShard, ClusterShared};
use super::slot::slot_of;
use super::topology::Topology;
use super::view::ServerId;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{DesiredSubscriptions, SubscriptionChange};

/// The sessions, and the place of each workspace.
pub(super) struct Placement<'a> {
    shared: Arc<ClusterShared>,
    desired: &'a DesiredSubscriptions,
    shards: &'a parking_lot::Mutex<Vec<Arc<ClusterShard>>>,
    sessions: HashMap<ServerId, PlacedSession>,
    tasks: JoinSet<()>,
    places: HashMap<WorkspaceId, Place>,
    /// Workspaces without a session.
    nowhere: HashSet<WorkspaceId>,
    topology: Option<Arc<Topology>>,
}

struct PlacedSession {
    shard: Arc<ClusterShard>,
    stop: CancellationToken,
    /// The workspaces that the session has not given back.
    workspaces: usize,
}

struct Place {
    slot: u16,
    is_wanted: bool,
    /// The session that has the workspace, and whether it has to give it back.
    at: Option<(ServerId, bool)>,
}

impl<'a> Placement<'a> {
    pub(super) fn new(
        shared: Arc<ClusterShared>,
        desired: &'a DesiredSubscriptions,
        shards: &'a parking_lot::Mutex<Vec<Arc<ClusterShard>>>,
    ) -> Self {
        Self {
            shared,
            desired,
            shards,
            sessions: HashMap::new(),
            tasks: JoinSet::new(),
            places: HashMap::new(),
            nowhere: HashSet::new(),
            topology: None,
        }
    }

    /// Follows the desired subscriptions and the topology. Never ends; the sessions end when the
    /// future is dropped.
    pub(super) async fn run(&mut self) {
        let mut latest = self.shared.refresher.subscribe();
        // A command may have begun a round that has ended before.
        latest.mark_changed();
        let shared = Arc::clone(&self.shared);
        loop {
            tokio::select! {
                returned = shared.returned.take() => self.on_returned(returned),
                () = self.desired.changed() => {
                    for (workspace, change) in self.desired.take_changes() {
                        self.change(workspace, change);
                    }
                }
                _ = latest.changed() => {
                    let topology = latest.borrow_and_update().topology.clone();
                    self.on_topology(topology);
                }
                Some(_) = self.tasks.join_next() => {}
            }
            self.shared.metrics.cluster_shards.set(i64::try_from(self.sessions.len()).unwrap_or(i64::MAX));
        }
    }

    fn change(&mut self, workspace: WorkspaceId, change: SubscriptionChange) {
        match change {
            SubscriptionChange::Want => {
                let channel = self.shared.channels.workspace(&workspace);
                let new = || Place { slot: slot_of(channel.as_bytes()), is_wanted: true, at: None };
                let place = self.places.entry(workspace.clone()).or_insert_with(new);
                place.is_wanted = true;
                match &place.at {
                    // The session confirms it again.
                    Some((at, false)) => {
                        if let Some(session) = self.sessions.get(at) {
                            session.shard.changes.push(workspace, change);
                        }
                    }
                    Some((_, true)) => {}
                    None => self.settle(&workspace),
                }
            }
            SubscriptionChange::Release => {
                let Some(place) = self.places.get_mut(&workspace) else { return };
                place.is_wanted = false;
                if place.at.is_some() {
                    self.withdraw(&workspace);
                } else {
                    self.places.remove(&workspace);
                    self.nowhere.remove(&workspace);
                }
            }
        }
    }

    /// Has the session of a workspace give it back.
    fn withdraw(&mut self, workspace: &WorkspaceId) {
        let Some(Place { at: Some((at, leaves)), .. }) = self.places.get_mut(workspace) else { return };
        if std::mem::replace(leaves, true) {
            return;
        }
        if let Some(session) = self.sessions.get(at) {
            session.shard.changes.push(workspace.clone(), SubscriptionChange::Release);
        }
    }

    /// Gives a workspace without a session to that of the owner of its slot.
    fn settle(&mut self, workspace: &WorkspaceId) {
        let Some(place) = self.places.get_mut(workspace) else { return };
        let owner = self.topology.as_ref().and_then(|topology| topology.owner(place.slot));
        let session = owner.and_then(|owner| self.sessions.get_mut(owner));
        let Some(session) = session else {
            self.nowhere.insert(workspace.clone());
            return;
        };
        self.nowhere.remove(workspace);
        session.workspaces += 1;
        place.at = Some((session.shard.id.clone(), false));
        session.shard.changes.push(workspace.clone(), SubscriptionChange::Want);
    }

    /// Handles workspaces that sessions have given back. The next topology decides where they go: a
    /// session gives a workspace back because its slot belongs to another server.
    fn on_returned(&mut self, returned: HashSet<(WorkspaceId, ServerId)>) {
        for (workspace, from) in returned {
            let Some(place) = self.places.get_mut(&workspace) else { continue };
            if place.at.as_ref().is_none_or(|(at, _)| *at != from) {
                continue;
            }
            let asked = place.at.take().is_some_and(|(_, leaves)| leaves);
            if let Some(session) = self.sessions.get_mut(&from) {
                session.workspaces = session.workspaces.saturating_sub(1);
            }
            if !place.is_wanted {
                self.places.remove(&workspace);
            } else if asked {
                self.settle(&workspace);
            } else {
                self.nowhere.insert(workspace);
            }
        }
        if !self.nowhere.is_empty() {
            self.shared.refresher.request();
        }
        self.end_unused();
    }

    fn on_topology(&mut self, topology: Option<Arc<Topology>>) {
        let Some(topology) = topology else { return };
        let is_new = self.topology.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &topology));
        self.topology = Some(Arc::clone(&topology));
        if is_new {
            self.open_sessions(&topology);
            let moved: Vec<_> = self
                .places
                .iter()
                .filter(|(_, place)| {
                    place.at.as_ref().is_some_and(|(at, _)| topology.owner(place.slot) != Some(at))
                })
                .map(|(workspace, _)| workspace.clone())
                .collect();
            moved.iter().for_each(|workspace| self.withdraw(workspace));
        }
        for workspace in std::mem::take(&mut self.nowhere) {
            self.settle(&workspace);
        }
        self.end_unused();
    }

    /// Opens a session for each owner of slots.
    fn open_sessions(&mut self, topology: &Topology) {
        for owner in topology.owners() {
            let Some(place) = topology.servers.get(owner) else { continue };
            let server = self.shared.servers.at(place);
            if let Some(session) = self.sessions.get(owner) {
                session.shard.server.send_if_modified(|current| {
                    let is_other = !Arc::ptr_eq(current, &server);
                    *current = Arc::clone(&server);
                    is_other
                });
                continue;
            }
            let shard = Arc::new(ClusterShard::new(owner.clone(), server));
            let stop = CancellationToken::new();
            self.tasks.spawn(session::run(Arc::clone(&self.shared), Arc::clone(&shard), stop.clone()));
            self.sessions.insert(owner.clone(), PlacedSession { shard, stop, workspaces: 0 });
        }
        self.publish_shards();
    }

    /// Ends the sessions of servers that own no slots and have given back all workspaces.
    fn end_unused(&mut self) {
        let Some(topology) = &self.topology else { return };
        let owners = topology.owners();
        let before = self.sessions.len();
        self.sessions.retain(|id, session| {
            let is_used = owners.contains(id) || session.workspaces > 0;
            if !is_used {
                session.stop.cancel();
            }
            is_used
        });
        if self.sessions.len() != before {
            self.publish_shards();
        }
    }

    /// Shows the shards to the state of the bus.
    fn publish_shards(&self) {
        let mut shards: Vec<_> = self.sessions.values().map(|session| Arc::clone(&session.shard)).collect();
        shards.sort_by(|one, other| one.id.cmp(&other.id));
        *self.shards.lock() = shards;
    }
}

#[cfg(test)]
mod tests;
