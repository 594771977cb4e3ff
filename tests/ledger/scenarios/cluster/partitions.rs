//! A primary without a network: no other server and no broker reaches it.

use std::sync::Arc;

use tidings_testkit::ledger::Setup;
use tidings_testkit::{ClusterNetwork, Namespace, RedisCluster};

use super::{RECOVERY, forgetful};

/// Needs root. The old primary returns as a primary, and its links are still open at its end.
#[tokio::test]
async fn a_primary_is_isolated_and_returns() {
    let namespace = Arc::new(Namespace::make());
    let cluster = RedisCluster::start_in(ClusterNetwork::FirstInside(Arc::clone(&namespace))).await;
    let setup = Setup::open_cluster("cluster, a primary isolated", forgetful(), &cluster).await;
    setup.more(20).await;
    namespace.interrupt();
    cluster.is_primary(3).await;
    setup.more_within(20, RECOVERY).await;
    namespace.mend();
    cluster.is_whole().await;
    setup.more_within(20, RECOVERY).await;
    setup.close_after_loss_of(&cluster).await;
}

/// The network heals before the cluster chooses a successor.
#[tokio::test]
async fn a_primary_is_isolated_for_a_moment() {
    let namespace = Arc::new(Namespace::make());
    let cluster = RedisCluster::start_in(ClusterNetwork::FirstInside(Arc::clone(&namespace))).await;
    let setup = Setup::open_cluster("cluster, a primary isolated for a moment", forgetful(), &cluster).await;
    setup.more(20).await;
    for _ in 0..2 {
        namespace.interrupt();
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        namespace.mend();
        cluster.is_whole().await;
        setup.more_within(20, RECOVERY).await;
    }
    setup.close_after_loss_of(&cluster).await;
}
