use futures_util::FutureExt as _;

use super::super::scripted::{RecordedCalls, primary, shared, topology, workspace};
use super::super::view::TopologyView;
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

/// Each session reports its own return, and the first one that the placement sees counts.
#[test]
fn second_return_hides_no_return_of_another_session() {
    placed(|placement| {
        let shared = Arc::clone(&placement.shared);
        placement.on_topology(Some(topology(2, &AFTER)));
        give_back(placement, 2);
        assert_eq!(changes(placement, 1), [SubscriptionChange::Want]);
        // The new owner redirects the subscription; the former session handles its release late.
        shared.returned.push(workspace(ACME), &id(1));
        shared.returned.push(workspace(ACME), &id(2));
        placement.on_returned(shared.returned.take().now_or_never().unwrap());
        placement.on_topology(Some(topology(3, &AFTER)));
        assert_eq!(changes(placement, 1), [SubscriptionChange::Want]);
    });
}

/// The hub has not seen the confirmation. The session confirms it again.
#[test]
fn wish_for_a_placed_workspace_goes_to_its_session() {
    placed(|placement| {
        placement.change(workspace(ACME), SubscriptionChange::Want);
        assert_eq!(changes(placement, 2), [SubscriptionChange::Want]);
        assert_eq!(placement.sessions[&id(2)].workspaces, 1);
    });
}

/// The session has taken none of the changes.
#[test]
fn last_change_of_a_workspace_counts() {
    placed(|placement| {
        placement.change(workspace(ACME), SubscriptionChange::Want);
        placement.change(workspace(ACME), SubscriptionChange::Release);
        assert_eq!(changes(placement, 2), [SubscriptionChange::Release]);
    });
}

/// After a second release the session would return the workspace twice.
#[test]
fn workspace_is_withdrawn_once() {
    placed(|placement| {
        placement.on_topology(Some(topology(2, &AFTER)));
        assert_eq!(changes(placement, 2), [SubscriptionChange::Release]);
        placement.on_topology(Some(topology(3, &AFTER)));
        placement.change(workspace(ACME), SubscriptionChange::Release);
        assert!(changes(placement, 2).is_empty());
    });
}

/// A workspace that waits for the next topology is wanted again.
#[test]
fn waiting_workspace_that_is_wanted_again_has_one_session() {
    placed(|placement| {
        give_back(placement, 2);
        placement.change(workspace(ACME), SubscriptionChange::Want);
        assert_eq!(changes(placement, 2), [SubscriptionChange::Want]);
        placement.on_topology(Some(topology(2, &AFTER)));
        assert_eq!(changes(placement, 2), [SubscriptionChange::Release]);
        assert!(changes(placement, 1).is_empty(), "the former owner still has it");
        assert_eq!(placement.sessions[&id(1)].workspaces, 0);
    });
}

#[test]
fn released_workspace_without_a_session_is_forgotten() {
    placed(|placement| {
        give_back(placement, 2);
        placement.change(workspace(ACME), SubscriptionChange::Release);
        assert!(placement.places.is_empty() && placement.nowhere.is_empty());
        placement.on_topology(Some(topology(2, &AFTER)));
        assert!(changes(placement, 1).is_empty());
    });
}

/// The topology that the node knows is older than the move.
#[test]
fn returned_workspace_requests_a_topology() {
    placed(|placement| {
        let refresher = placement.shared.refresher.clone();
        assert!(!refresher.is_requested());
        give_back(placement, 2);
        assert!(refresher.is_requested());
        placement.change(workspace(ACME), SubscriptionChange::Release);
        placement.on_returned([].into());
        assert!(!refresher.is_requested(), "nothing waits for one");
    });
}

/// A round without news must not open the links again.
#[test]
fn session_gets_another_server_only_for_another_address() {
    placed(|placement| {
        let mut server = placement.sessions[&id(1)].shard.server.subscribe();
        placement.on_topology(Some(topology(2, &AFTER)));
        assert!(!server.has_changed().unwrap());
        let text = primary(1, 77, 5, "0-8000", true) + &primary(2, 2, 5, "8001-16383", false);
        let moved = Topology::join(&[TopologyView::parse(&text, "127.0.0.1").unwrap()], None);
        placement.on_topology(Some(Arc::new(moved)));
        assert!(server.has_changed().unwrap());
        assert_eq!(server.borrow_and_update().port, 77);
        assert_eq!(placement.sessions.len(), 2);
    });
}

/// The first wish ends with the release, and the second one comes before the return.
#[test]
fn workspace_that_is_wanted_again_before_its_return_is_placed_again() {
    placed(|placement| {
        placement.change(workspace(ACME), SubscriptionChange::Release);
        assert_eq!(changes(placement, 2), [SubscriptionChange::Release]);
        placement.change(workspace(ACME), SubscriptionChange::Want);
        assert!(changes(placement, 2).is_empty());
        give_back(placement, 2);
        assert_eq!(changes(placement, 2), [SubscriptionChange::Want]);
    });
}

#[test]
fn session_without_workspaces_ends_with_the_slots_of_its_server() {
    placed(|placement| {
        placement.change(workspace(ACME), SubscriptionChange::Release);
        give_back(placement, 2);
        assert!(placement.sessions.contains_key(&id(2)), "it owns slots");
        placement.on_topology(Some(topology(2, &["0-16383"])));
        assert!(!placement.sessions.contains_key(&id(2)));
    });
}

/// The memory of a session is free after its end.
#[tokio::test]
async fn ended_session_is_forgotten() {
    let (desired, shards) = (DesiredSubscriptions::default(), parking_lot::Mutex::default());
    let shared = shared(Arc::<RecordedCalls>::default());
    let mut placement = Placement::new(shared, &desired, &shards);
    placement.on_topology(Some(topology(1, &BEFORE)));
    placement.on_topology(Some(topology(2, &["0-16383"])));
    assert_eq!(placement.tasks.len(), 2);
    let forgotten = async {
        while placement.tasks.len() == 2 {
            tokio::select! {
                () = placement.run() => {}
                () = tokio::time::sleep(std::time::Duration::from_millis(1)) => {}
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(40), forgotten).await.expect("it ends");
}

#[test]
fn session_of_a_server_without_slots_is_stopped() {
    placed(|placement| {
        let (stop, shards) = (placement.sessions[&id(2)].stop.clone(), placement.shards);
        assert_eq!(shards.lock().len(), 2);
        placement.on_topology(Some(topology(2, &["0-16383"])));
        assert!(!stop.is_cancelled(), "it has a workspace");
        give_back(placement, 2);
        assert!(stop.is_cancelled());
        assert_eq!(shards.lock().len(), 1);
        assert_eq!(changes(placement, 1), [SubscriptionChange::Want]);
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
