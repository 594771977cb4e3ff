//! The Redis server goes away and returns.

use std::time::Duration;

use tidings_testkit::ledger::{Setting, Setup, Way};

use crate::support::{DEADLINE, eventually};

/// Publishing fails while the server is away; when it is back, it has to go on within this time.
const RECOVERY: Duration = Duration::from_secs(40);

/// A server that writes down what it acknowledges.
fn append_only() -> Setting {
    Setting { append_only: true, ..Setting::default() }
}

#[tokio::test]
async fn a_server_with_an_append_only_file_is_restarted() {
    let (mut redis, setup) = Setup::open("Redis restart, append-only file", append_only()).await;
    for _ in 0..3 {
        setup.more(30).await;
        redis.restart().await;
    }
    setup.more_within(30, RECOVERY).await;
    setup.close().await;
}

#[tokio::test]
async fn an_outage_of_30_seconds() {
    let (mut redis, setup) = Setup::open("30 s outage", append_only()).await;
    setup.more(50).await;
    redis.stop();
    tokio::time::sleep(Duration::from_secs(30)).await;
    redis.restart().await;
    setup.more_within(50, RECOVERY).await;
    setup.close().await;
}

#[tokio::test]
async fn server_freezes_for_10_seconds() {
    let (redis, setup) = Setup::open("SIGSTOP of Redis for 10 s", Setting::default()).await;
    setup.more(50).await;
    redis.freeze();
    tokio::time::sleep(Duration::from_secs(10)).await;
    redis.thaw();
    setup.more_within(50, RECOVERY).await;
    setup.close().await;
}

#[tokio::test]
async fn server_freezes_for_less_than_a_ping() {
    let (redis, setup) = Setup::open("SIGSTOP of Redis for 1 s", Setting::default()).await;
    for _ in 0..3 {
        setup.more(20).await;
        redis.freeze();
        tokio::time::sleep(Duration::from_secs(1)).await;
        redis.thaw();
    }
    setup.more_within(50, RECOVERY).await;
    let verdict = setup.close().await;
    assert!(verdict.resets.is_empty(), "{verdict}");
}

/// Without a file the server has lost every acknowledged event. Each client with an event gets a
/// reset.
#[tokio::test]
async fn a_server_comes_back_empty() {
    let mut setting = Setting::default();
    // The server forgets idempotency keys too.
    setting.publishers.ways = Way::NEVER_TWICE.to_vec();
    let (mut redis, setup) = Setup::open("Redis restarted empty", setting).await;
    setup.more(50).await;
    setup.delivered().await;
    // One client of each workspace is away meanwhile, and reconnects to a log that does not know
    // its position.
    for listener in setup.listeners.iter().step_by(3) {
        listener.leave();
    }
    setup.more(20).await;
    redis.restart().await;
    setup.more_within(20, RECOVERY).await;
    for listener in &setup.listeners {
        listener.come_back();
    }
    setup.more(20).await;
    let clients = setup.listeners.len() as u64;
    let verdict = setup.close_after_loss(&redis).await;
    let resets: u64 = verdict.resets.values().sum();
    assert!(resets >= clients, "every client is told: {verdict}");
}

/// The link of a broker is closed again and again, faster than all workspaces can be read.
#[tokio::test]
async fn subscribers_are_killed_five_times_a_second() {
    let (redis, setup) = Setup::open("CLIENT KILL TYPE pubsub every 200 ms", Setting::default()).await;
    let (mut killed, mut rounds) = (0, 0);
    // On a slow machine brokers are back too late for some of the rounds.
    eventually("links are killed", RECOVERY, async || {
        killed += redis.kill_subscribers().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        rounds += 1;
        rounds >= 40 && killed >= 20
    })
    .await;
    eventually("both brokers are ready", DEADLINE * 2, async || {
        setup.brokers[0].is_ready().await && setup.brokers[1].is_ready().await
    })
    .await;
    setup.more(50).await;
    setup.close().await;
}
