//! Redis Cluster: slots move, servers fail, and links are lost.

mod failovers;
mod links;
mod moves;
mod partitions;
mod random;
mod two_primaries;

use std::time::Duration;

use tidings_testkit::ledger::{Setting, Setup, Way};
use tidings_testkit::{RedisCluster, RedisServer};

/// Publishing has to go on within this time after a failover, on a busy machine.
const RECOVERY: Duration = Duration::from_secs(60);

/// How long a slot is left on the move. `scripts/soak` sets the variable.
fn migrating_time() -> Duration {
    let seconds = std::env::var("TIDINGS_LEDGER_MIGRATING_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// Four workspaces, which are on three primaries, with two clients each that hop between two
/// brokers.
fn setting() -> Setting {
    Setting { workspaces: 4, clients: 2, ..Setting::default() }
}

/// The same with a third client, and the second one goes to another broker often.
fn hopping() -> Setting {
    let stay = Some(Duration::from_millis(200)..Duration::from_millis(1_000));
    Setting { clients: 3, stay, ..forgetful() }
}

/// A setting for a cluster that may lose acknowledged events in a failover.
fn forgetful() -> Setting {
    let mut setting = setting();
    setting.publishers.ways = Way::NEVER_TWICE.to_vec();
    setting
}

async fn open(name: &str, mut setting: Setting) -> (RedisCluster, Setup) {
    let cluster = RedisCluster::start().await;
    if begins_second_logs(&cluster.servers[0]).await {
        setting.publishers.ways.retain(|way| *way != Way::Plain);
    }
    let setup = Setup::open_cluster(name, setting, &cluster).await;
    (cluster, setup)
}

/// Whether a transaction with `SPUBLISH` begins a second log at the source of a slot that moves, as
/// it does on Valkey 9. docs/guides/many-nodes.md warns of it.
async fn begins_second_logs(server: &RedisServer) -> bool {
    server.info("server").await.contains("valkey_version:9")
}

/// The slots of the workspaces.
async fn slots(cluster: &RedisCluster, setup: &Setup) -> Vec<u16> {
    let mut slots = Vec::new();
    for publisher in &setup.publishers {
        slots.push(cluster.slot(&format!("workspace:{}", publisher.workspace())).await);
    }
    slots
}

/// The number of links for events that the brokers have lost.
async fn links_lost(setup: &Setup) -> f64 {
    let mut lost = 0.0;
    for broker in &setup.brokers {
        lost += broker.metric("tidings_cluster_links_lost_total").await.unwrap_or(0.0);
    }
    lost
}
