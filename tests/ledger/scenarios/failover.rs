//! Another server takes over, by the word of Sentinels, under load. Replication is asynchronous:
//! the new primary may lack what the old one acknowledged.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::Value;
use tidings_testkit::ledger::{Setting, Setup, Way, tell};

use crate::support::BrokerOptions;
use crate::support::sentinel::SentinelGroup;

const RECOVERY: Duration = Duration::from_secs(60);

async fn open(name: &str) -> (SentinelGroup, Setup) {
    let group = SentinelGroup::start().await;
    let mut setting = Setting { workspaces: 2, ..Setting::default() };
    setting.publishers.ways = Way::NEVER_TWICE.to_vec();
    let options = group
        .settings()
        .into_iter()
        .fold(BrokerOptions::embedded(), |options, (key, value)| options.set(key, value));
    let setup = Setup::open_on(name, setting, options, &group.servers[0].url()).await;
    (group, setup)
}

/// Ends the primary and waits until publishing goes on at the replica.
async fn fail_over(group: &mut SentinelGroup, setup: &Setup) {
    group.servers[0].stop();
    group.wait_for_primary(1).await;
    setup.move_publishers(&group.servers[1].url());
    setup.more_within(30, RECOVERY).await;
}

/// The replica gets nothing more, while the primary goes on acknowledging.
async fn stop_replication(group: &SentinelGroup) {
    // A slow machine needs a while for what the replica is to miss.
    group.set_patience(Duration::from_secs(5)).await;
    let primary = &group.servers[0];
    tell(primary, &["ACL", "SETUSER", "default", "-psync", "-sync"]).await;
    tell(primary, &["CLIENT", "KILL", "TYPE", "replica"]).await;
}

#[tokio::test]
async fn a_failover_under_load() {
    let (mut group, setup) = open("Sentinel failover under load").await;
    setup.more(50).await;
    fail_over(&mut group, &setup).await;
    setup.close_after_loss(&group.servers[1]).await;
}

#[tokio::test]
async fn a_failover_that_rolls_the_log_back() {
    let (mut group, setup) = open("failover, acknowledged events rolled back").await;
    setup.more(50).await;
    stop_replication(&group).await;
    setup.more(50).await;
    setup.delivered().await;
    // Some have positions that are about to be lost, and are away meanwhile.
    setup.listeners.iter().step_by(3).for_each(|listener| listener.leave());
    setup.more(10).await;
    fail_over(&mut group, &setup).await;
    setup.listeners.iter().for_each(|listener| listener.come_back());
    setup.more(10).await;
    let clients = setup.listeners.len() as u64;
    let verdict = setup.close_after_loss(&group.servers[1]).await;
    assert!(verdict.resets.values().sum::<u64>() >= clients, "every client is told: {verdict}");
}

/// The ids of the new primary begin below those that clients have. Here it is the old one's clock
/// that is ahead: an entry an hour in the future, after which all its ids lie there.
#[tokio::test]
async fn failover_to_a_server_with_a_clock_behind() {
    let (mut group, setup) = open("failover, clock of the new primary behind").await;
    setup.more(50).await;
    stop_replication(&group).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis();
    for publisher in &setup.publishers {
        let log = format!("workspace:{}", publisher.workspace());
        let id = format!("{}-0", now + 3_600_000);
        let entry = ["XADD", &log, &id, "data", r#"{"type":"CLOCK"}"#];
        group.servers[0].command::<Value>(&entry).await;
    }
    setup.more(50).await;
    setup.delivered().await;
    setup.listeners.iter().step_by(3).for_each(|listener| listener.leave());
    setup.more(10).await;
    fail_over(&mut group, &setup).await;
    setup.listeners.iter().for_each(|listener| listener.come_back());
    setup.more(10).await;
    let clients = setup.listeners.len() as u64;
    let verdict = setup.close_after_loss(&group.servers[1]).await;
    assert!(verdict.resets.values().sum::<u64>() >= clients, "every client is told: {verdict}");
}
