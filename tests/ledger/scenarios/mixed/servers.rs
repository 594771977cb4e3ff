//! The Redis server freezes, or is restarted.

use std::time::Duration;

use tidings_testkit::ledger::{Setting, Setup, Way};

use super::{links, setting};

/// Publishing fails while the server is away; when it is back, it has to go on within this time.
const RECOVERY: Duration = Duration::from_secs(40);

#[tokio::test]
async fn frozen_server() {
    let (redis, setup) = Setup::open("mixed, SIGSTOP of Redis", setting(&Way::ALL)).await;
    // The last is longer than it takes brokers to notice.
    for seconds in [1, 1, 6] {
        setup.more_within(8, RECOVERY).await;
        redis.freeze();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        redis.thaw();
    }
    links::all_ready(&setup.brokers, RECOVERY).await;
    setup.more_within(8, RECOVERY).await;
    setup.close().await;
}

#[tokio::test]
async fn the_server_is_restarted_with_its_file() {
    let setting = Setting { append_only: true, ..setting(&Way::ALL) };
    let (mut redis, setup) = Setup::open("mixed, Redis restart, append-only file", setting).await;
    for _ in 0..3 {
        setup.more_within(10, RECOVERY).await;
        redis.restart().await;
        links::all_ready(&setup.brokers, RECOVERY).await;
    }
    setup.more_within(10, RECOVERY).await;
    setup.close().await;
}
