//! Random faults of a cluster, from a seed.

use std::time::Duration;

use tidings_testkit::ledger::print;

use super::{RECOVERY, hopping, open, slots};

/// `TIDINGS_LEDGER_SEED` repeats a run. Two forced failovers of a shard within seconds can leave a
/// server that calls itself the primary for a moment, see docs/delivery.md. No fault strikes before
/// the servers agree again.
#[tokio::test]
async fn random_faults_of_a_cluster() {
    let seed = std::env::var("TIDINGS_LEDGER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut cluster, setup) = open(&format!("cluster, random faults, seed {seed}"), hopping()).await;
    setup.more(10).await;
    let slots = slots(&cluster, &setup).await;
    for round in 0..8 {
        let slot = slots[random.usize(..slots.len())];
        let owner = cluster.owner(slot).await;
        // The partner in replication of a server.
        let partner = (owner + 3) % 6;
        let fault = random.u8(..6);
        print(&format!("ledger:   round {round}: fault {fault}, slot {slot} of server {owner}"));
        match fault {
            0 | 1 => {
                let mut to = owner;
                while to == owner {
                    to = cluster.owner(random.u16(..16_384)).await;
                }
                cluster.move_slots(&[slot], owner, to).await;
            }
            2 => cluster.fail_over(partner, ["", "FORCE", "TAKEOVER"][random.usize(..3)]).await,
            3 => {
                cluster.servers[owner].kill_subscribers().await;
            }
            4 => {
                cluster.servers[owner].stop();
                cluster.is_primary(partner).await;
                cluster.servers[owner].restart().await;
            }
            _ => {
                cluster.servers[owner].freeze();
                tokio::time::sleep(Duration::from_millis(random.u64(100..1_500))).await;
                cluster.servers[owner].thaw();
            }
        }
        setup.more_within(5, RECOVERY).await;
        cluster.is_whole().await;
    }
    setup.more_within(10, RECOVERY).await;
    setup.close_after_loss_of(&cluster).await;
}
