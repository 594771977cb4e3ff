//! Slots move from one primary to another.

use tidings_testkit::RedisCluster;
use tidings_testkit::ledger::Way;

use super::{RECOVERY, migrating_time, open, setting, slots};

/// A thousand slots, those of the workspaces among them, to another primary and back.
#[tokio::test]
async fn slots_move_to_and_fro_under_load() {
    let (cluster, setup) = open("cluster, 1,000 slots moved back and forth", setting()).await;
    setup.more(20).await;
    for slot in slots(&cluster, &setup).await {
        let from = cluster.owner(slot).await;
        let to = (from + 1) % 3;
        let owned = RedisCluster::slots_at_start(from);
        let first = slot.min(owned.end() - 249);
        let range: Vec<_> = (first..first + 250).collect();
        cluster.move_slots(&range, from, to).await;
        setup.more_within(10, RECOVERY).await;
        cluster.move_slots(&range, to, from).await;
    }
    setup.more_within(20, RECOVERY).await;
    let verdict = setup.close().await;
    assert!(verdict.resets.is_empty(), "durable events need no reset: {verdict}");
}

/// All keys are at the target, and the source still owns the slots. Events are announced where no
/// node is subscribed.
#[tokio::test]
async fn slots_are_left_migrating() {
    let mut setting = setting();
    // A new idempotency key is nowhere, so the server sends TRYAGAIN until the move ends.
    setting.publishers.ways = Way::NEVER_TWICE.to_vec();
    let (cluster, setup) = open("cluster, slots left migrating", setting).await;
    setup.more(20).await;
    let mut moving = Vec::new();
    for slot in slots(&cluster, &setup).await {
        let from = cluster.owner(slot).await;
        moving.push((slot, from, (from + 1) % 3));
    }
    for &(slot, from, to) in &moving {
        cluster.begin_move(&[slot], from, to).await;
        cluster.move_keys(&[slot], from, to).await;
    }
    setup.more_within(50, RECOVERY).await;
    setup.delivered().await;
    tokio::time::sleep(migrating_time()).await;
    setup.more_within(20, RECOVERY).await;
    setup.delivered().await;
    for &(slot, from, to) in &moving {
        cluster.end_move(&[slot], from, to).await;
    }
    setup.more_within(20, RECOVERY).await;
    setup.close().await;
}

/// A primary joins, gets the slots of the workspaces, and leaves.
#[tokio::test]
async fn a_fourth_primary_comes_and_goes() {
    let (mut cluster, setup) = open("cluster, 3 to 4 to 3 primaries", setting()).await;
    setup.more(20).await;
    let new = cluster.add_primary().await;
    let mut moved = Vec::new();
    for slot in slots(&cluster, &setup).await {
        let from = cluster.owner(slot).await;
        cluster.move_slots(&[slot], from, new).await;
        moved.push((slot, from));
    }
    setup.more_within(30, RECOVERY).await;
    for (slot, from) in moved {
        cluster.move_slots(&[slot], new, from).await;
    }
    setup.more_within(20, RECOVERY).await;
    cluster.servers[new].stop();
    setup.more_within(20, RECOVERY).await;
    setup.close().await;
}
