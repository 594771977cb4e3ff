use futures_util::FutureExt as _;

use super::super::scripted::{RecordedCalls, shared, topology, workspace};
use super::*;

const ACME: &str = "acme";
/// The slot of `workspace:acme` is 7933: that of the second primary in the first topology, and of
/// the first one in the second.
const BEFORE: [&str; 2] = ["0-7000", "7001-16383"];
const AFTER: [&str; 2] = ["0-8000", "8001-16383"];

/// The changes that a session has not taken, of the primary with this number.
fn changes(placement: &Placement<'_>, number: usize) -> Vec<SubscriptionChange> {
    let session = &placement.sessions[&id(number)];
    session.shard.changes.take().now_or_never().unwrap_or_default().into_values().collect()
}

fn id(number: usize) -> ServerId {
    ServerId::from(format!("{number:040}"))
}

fn give_back(placement: &mut Placement<'_>, from: usize) {
    placement.on_returned([(workspace(ACME), id(from))].into());
}

/// Runs a test with the workspace at the second primary. Sessions run while a test awaits, so no
/// test does.
fn placed(test: impl FnOnce(&mut Placement<'_>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (desired, shards) = (DesiredSubscriptions::default(), parking_lot::Mutex::default());
        let shared = shared(std::sync::Arc::<RecordedCalls>::default());
        let mut placement = Placement::new(shared, &desired, &shards);
        placement.on_topology(Some(topology(1, &BEFORE)));
        placement.change(workspace(ACME), SubscriptionChange::Want);
        assert_eq!(changes(&placement, 2), [SubscriptionChange::Want]);
        assert!(changes(&placement, 1).is_empty());
        test(&mut placement);
    });
}

/// Two sessions with one workspace could report its loss after its confirmation.
#[test]
fn new_owner_waits_until_the_former_one_gives_back() {
    placed(|placement| {
        placement.on_topology(Some(topology(2, &AFTER)));
        assert_eq!(changes(placement, 2), [SubscriptionChange::Release]);
        assert!(changes(placement, 1).is_empty(), "the former owner still has it");
        placement.change(workspace(ACME), SubscriptionChange::Want);
        assert!(changes(placement, 1).is_empty(), "nor if the hub wants it again");
        give_back(placement, 2);
        assert_eq!(changes(placement, 1), [SubscriptionChange::Want]);
    });
}

/// A session gives back what a topology withdraws, and its server may end the subscription too.
#[test]
fn second_return_of_a_workspace_changes_nothing() {
    placed(|placement| {
        placement.on_topology(Some(topology(2, &AFTER)));
        give_back(placement, 2);
        assert_eq!(changes(placement, 1), [SubscriptionChange::Want]);
        give_back(placement, 2);
        assert!(changes(placement, 1).is_empty());
        placement.change(workspace(ACME), SubscriptionChange::Release);
        assert_eq!(changes(placement, 1), [SubscriptionChange::Release]);
    });
}

/// A server ended the subscription: the topology that the node knows still names it.
#[test]
fn returned_workspace_waits_for_the_next_topology() {
    placed(|placement| {
        give_back(placement, 2);
        assert!(changes(placement, 2).is_empty(), "the known topology is older than the move");
        placement.on_topology(Some(topology(2, &AFTER)));
        assert_eq!(changes(placement, 1), [SubscriptionChange::Want]);
    });
}

#[test]
fn released_workspace_goes_to_no_session() {
    placed(|placement| {
        placement.on_topology(Some(topology(2, &AFTER)));
        placement.change(workspace(ACME), SubscriptionChange::Release);
        give_back(placement, 2);
        assert!(changes(placement, 1).is_empty());
        assert!(placement.places.is_empty() && placement.nowhere.is_empty());
    });
}

/// Without an owner a workspace waits. Its session remains until it has given everything back.
#[test]
fn workspace_without_an_owner_waits() {
    placed(|placement| {
        placement.on_topology(Some(topology(2, &["0-7000"])));
        assert_eq!(changes(placement, 2), [SubscriptionChange::Release]);
        give_back(placement, 2);
        assert!(!placement.sessions.contains_key(&id(2)), "it owns no slots");
        assert!(placement.nowhere.contains(&workspace(ACME)));
        placement.on_topology(Some(topology(3, &AFTER)));
        assert_eq!(changes(placement, 1), [SubscriptionChange::Want]);
    });
}
