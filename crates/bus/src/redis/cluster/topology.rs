//! The topology of a cluster: the primary of each slot, from the views of several servers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::slot::SLOTS;
use super::view::{ServerId, TopologyView, ViewServer};

/// The owners of all slots, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topology {
    /// All servers of the cluster with an address, replicas too.
    pub(super) servers: BTreeMap<ServerId, ServerPlace>,
    /// The owner of each slot.
    slots: Vec<Option<Claim>>,
    /// The owners of slots that have an address.
    owners: BTreeSet<ServerId>,
    /// The slots that their owners are handing over.
    pub(super) migrating: BTreeSet<u16>,
}

/// The address of a server, and what the cluster says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerPlace {
    pub(super) hosts: Vec<String>,
    pub(super) port: u16,
    /// A majority of the primaries cannot reach it.
    pub(super) is_failed: bool,
}

/// A server that owns a slot since an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    epoch: u64,
    owner: ServerId,
}

impl Topology {
    /// Joins views. For each slot the claim with the highest epoch wins, and at one epoch that of
    /// the server with the lowest id. Redis raises the epoch of that server when the two learn of
    /// each other. So all nodes are at the final owner already, whichever servers they ask.
    ///
    /// A known owner whose view is missing keeps a slot against lower epochs. The other views may
    /// come from servers that a partition has left behind. A cluster that no longer lists the owner
    /// is another one.
    pub(super) fn join(views: &[TopologyView], known: Option<&Self>) -> Self {
        let mut servers = BTreeMap::new();
        let mut slots: Vec<Option<Claim>> = vec![None; usize::from(SLOTS)];
        let mut migrating = BTreeSet::new();
        let failures = |id: &ServerId| {
            views
                .iter()
                .filter(|view| view.servers.iter().any(|server| server.id == *id && server.is_failed))
                .count()
        };
        for server in views.iter().flat_map(|view| &view.servers) {
            let has_address = !server.hosts.is_empty() && server.port != 0;
            if has_address && (server.is_myself || !servers.contains_key(&server.id)) {
                let is_failed = failures(&server.id) * 2 > views.len();
                let place = ServerPlace { hosts: server.hosts.clone(), port: server.port, is_failed };
                servers.insert(server.id.clone(), place);
            }
            if server.is_primary {
                claim(&mut slots, server);
            }
        }
        for (slot, claim) in known.iter().flat_map(|known| known.claims()) {
            let own = views.iter().any(|view| view.myself().is_some_and(|myself| myself.id == claim.owner));
            let current = &mut slots[usize::from(slot)];
            if !own
                && servers.contains_key(&claim.owner)
                && current.as_ref().is_none_or(|current| current.epoch < claim.epoch)
            {
                *current = Some(claim.clone());
            }
        }
        for myself in views.iter().filter_map(TopologyView::myself) {
            migrating.extend(myself.migrating.iter().filter(|&&slot| {
                slots[usize::from(slot)].as_ref().is_some_and(|claim| claim.owner == myself.id)
            }));
        }
        // A move goes on while its source does not respond.
        for &slot in known.iter().flat_map(|known| &known.migrating) {
            let source = known.and_then(|known| known.owner(slot));
            let is_owner = slots[usize::from(slot)].as_ref().map(|claim| &claim.owner) == source;
            let own = views.iter().any(|view| view.myself().is_some_and(|myself| Some(&myself.id) == source));
            if is_owner && !own {
                migrating.insert(slot);
            }
        }
        let mut owners = BTreeSet::new();
        for claim in slots.iter().flatten() {
            if !owners.contains(&claim.owner) && servers.contains_key(&claim.owner) {
                owners.insert(claim.owner.clone());
            }
        }
        Self { servers, slots, owners, migrating }
    }

    /// Returns the owner of a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&ServerId> {
        Some(&self.slots.get(usize::from(slot))?.as_ref()?.owner)
    }

    /// Returns whether a server owns a slot and does not hand it over.
    pub(super) fn is_settled(&self, slot: u16, server: &ServerId) -> bool {
        self.owner(slot) == Some(server) && !self.migrating.contains(&slot)
    }

    /// Returns whether a server owns a slot that it does not hand over.
    pub(super) fn has_settled_slot(&self, server: &ServerId) -> bool {
        (0..SLOTS).any(|slot| self.is_settled(slot, server))
    }

    /// Returns the owners of slots that have an address.
    pub(super) fn owners(&self) -> &BTreeSet<ServerId> {
        &self.owners
    }

    /// Returns the number of slots without an owner.
    pub(super) fn uncovered(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_none()).count()
    }

    fn claims(&self) -> impl Iterator<Item = (u16, &Claim)> {
        (0..SLOTS).zip(&self.slots).filter_map(|(slot, claim)| Some((slot, claim.as_ref()?)))
    }
}

fn claim(slots: &mut [Option<Claim>], server: &ViewServer) {
    for slot in server.slots.iter().cloned().flatten() {
        let Some(current) = slots.get_mut(usize::from(slot)) else { continue };
        let rank = (server.epoch, Reverse(&server.id));
        if current.as_ref().is_none_or(|current| rank > (current.epoch, Reverse(&current.owner))) {
            *current = Some(Claim { epoch: server.epoch, owner: server.id.clone() });
        }
    }
}

#[cfg(test)]
mod tests;
