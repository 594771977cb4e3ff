use proptest::prelude::*;

use super::*;

/// A server that owns slots at an epoch, as a view has it.
fn server(number: u8, epoch: u64, slots: &[u16]) -> ViewServer {
    ViewServer {
        id: id(number),
        hosts: vec![format!("10.0.0.{number}")],
        port: 7000,
        is_myself: false,
        is_primary: true,
        is_failed: false,
        epoch,
        slots: slots.iter().map(|&slot| slot..=slot).collect(),
        migrating: Vec::new(),
    }
}

fn id(number: u8) -> ServerId {
    ServerId::from(format!("{number:040}"))
}

fn view(myself: u8, mut servers: Vec<ViewServer>) -> TopologyView {
    for server in &mut servers {
        server.is_myself = server.id == id(myself);
    }
    TopologyView { servers }
}

#[test]
fn highest_epoch_owns_a_slot() {
    let stale = view(1, vec![server(1, 1, &[5]), server(2, 2, &[])]);
    let new = view(2, vec![server(1, 1, &[]), server(2, 3, &[5])]);
    for views in [[stale.clone(), new.clone()], [new, stale]] {
        assert_eq!(Topology::join(&views, None).owner(5), Some(&id(2)));
    }
}

/// Two servers call themselves the primary at one epoch. All nodes choose the one whose epoch Redis
/// raises, in whatever order the servers reply.
#[test]
fn lower_id_owns_a_slot_at_one_epoch() {
    let first = view(1, vec![server(1, 3, &[5]), server(2, 3, &[])]);
    let second = view(2, vec![server(1, 3, &[]), server(2, 3, &[5])]);
    let mut known = None;
    for views in [[first.clone(), second.clone()], [second.clone(), first]] {
        let topology = Topology::join(&views, known.as_ref());
        assert_eq!(topology.owner(5), Some(&id(1)));
        known = Some(topology);
    }
    // Without a reply of the first one, the other serves.
    assert_eq!(Topology::join(std::slice::from_ref(&second), known.as_ref()).owner(5), Some(&id(2)));
    // It is enough that a third server names the first one.
    let third = view(3, vec![server(1, 3, &[5])]);
    assert_eq!(Topology::join(&[second, third], None).owner(5), Some(&id(1)));
}

/// A primary that a partition left behind replies alone.
#[test]
fn known_owner_that_does_not_reply_keeps_its_slots() {
    let new = view(2, vec![server(1, 1, &[]), server(2, 3, &[5])]);
    let known = Topology::join(&[new], None);
    let stale = view(1, vec![server(1, 1, &[5]), server(2, 2, &[])]);
    assert_eq!(Topology::join(std::slice::from_ref(&stale), Some(&known)).owner(5), Some(&id(2)));
    // It says itself that it does not own the slot.
    let own = view(2, vec![server(1, 1, &[5]), server(2, 2, &[])]);
    assert_eq!(Topology::join(&[stale, own], Some(&known)).owner(5), Some(&id(1)));
    // It is another cluster.
    let other = view(3, vec![server(3, 1, &[5])]);
    assert_eq!(Topology::join(&[other], Some(&known)).owner(5), Some(&id(3)));
}

#[test]
fn slot_migrates_until_its_owner_has_handed_it_over() {
    let mut source = server(1, 1, &[5]);
    source.migrating = vec![5];
    let source = view(1, vec![source]);
    assert!(Topology::join(std::slice::from_ref(&source), None).migrating.contains(&5));
    let target = view(2, vec![server(2, 2, &[5])]);
    assert!(Topology::join(&[source, target], None).migrating.is_empty());
}

/// Only the source of a move reports it.
#[test]
fn slot_migrates_while_its_owner_does_not_reply() {
    let source = view(1, vec![ViewServer { migrating: vec![5], ..server(1, 1, &[5]) }]);
    let known = Topology::join(&[source], None);
    let other = view(2, vec![server(1, 1, &[5]), server(2, 2, &[])]);
    assert!(Topology::join(&[other], Some(&known)).migrating.contains(&5));
    let moved = view(2, vec![server(1, 1, &[]), server(2, 2, &[5])]);
    assert!(Topology::join(&[moved], Some(&known)).migrating.is_empty());
    let replies = view(1, vec![server(1, 1, &[5])]);
    assert!(Topology::join(&[replies], Some(&known)).migrating.is_empty());
}

/// One server alone may be disconnected itself.
#[test]
fn majority_of_the_views_reports_a_failed_server() {
    let failed = |number| ViewServer { is_failed: true, ..server(number, 1, &[]) };
    let views = |first, second, third| [first, second, third].map(|server| view(9, vec![server]));
    let is_failed = |views: &[TopologyView]| Topology::join(views, None).servers[&id(1)].is_failed;
    assert!(is_failed(&views(failed(1), failed(1), server(1, 1, &[]))));
    assert!(!is_failed(&views(failed(1), server(1, 1, &[]), server(1, 1, &[]))));
}

proptest! {
    /// The order in which servers reply decides nothing, and a claim without a rival wins.
    #[test]
    fn order_of_the_views_does_not_matter(
        claims in prop::collection::vec((0_u8..4, 0_u64..6, prop::collection::vec(0_u16..8, 0..4)), 1..6),
    ) {
        let views: Vec<_> = claims.iter().map(|(number, epoch, slots)| {
            view(*number, vec![server(*number, *epoch, slots)])
        }).collect();
        let reversed: Vec<_> = views.iter().rev().cloned().collect();
        let (topology, other) = (Topology::join(&views, None), Topology::join(&reversed, None));
        for slot in 0..8 {
            prop_assert_eq!(topology.owner(slot), other.owner(slot));
            let highest = views.iter().flat_map(|view| &view.servers)
                .filter(|server| server.slots.contains(&(slot..=slot)))
                .max_by_key(|server| (server.epoch, Reverse(&server.id)));
            prop_assert_eq!(topology.owner(slot), highest.map(|server| &server.id));
        }
    }
}
