//! Brokers end and restart.

use std::time::Duration;

use tidings_testkit::ledger::{Setting, Setup, Way};

/// How long a broker may take to end, when asked.
const END: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_broker_is_killed_and_started_again() {
    let (_redis, mut setup) = Setup::open("broker kill -9", Setting::default()).await;
    for round in 0..4 {
        setup.more(20).await;
        setup.brokers[round % 2].kill();
        setup.more(20).await;
        setup.brokers[round % 2].restart().await;
    }
    setup.more(20).await;
    let verdict = setup.close().await;
    assert!(verdict.reconnects >= 8, "{verdict}");
}

#[tokio::test]
async fn both_brokers_are_restarted_one_after_the_other() {
    let (_redis, mut setup) = Setup::open("rolling restart", Setting::default()).await;
    for round in 0..4 {
        setup.more(20).await;
        assert_eq!(setup.brokers[round % 2].terminate(END).await, Some(0));
        setup.brokers[round % 2].restart().await;
        setup.brokers[round % 2].ready().await;
    }
    setup.more(20).await;
    let verdict = setup.close().await;
    assert!(verdict.reconnects >= 8, "{verdict}");
}

/// The log is in the broker itself, and on its disk before anything is acknowledged.
#[tokio::test]
async fn node_with_the_embedded_bus_is_killed_and_restarted() {
    let mut setting = Setting::default();
    setting.publishers.ways = vec![Way::Post, Way::PostOnce, Way::Function, Way::Plain];
    setting.brokers.push(("embedded.path", "logs".to_owned()));
    setting.brokers.push(("embedded.sync", "always".to_owned()));
    let mut setup = Setup::open_embedded("kill -9 of a broker on the embedded bus", setting).await;
    setup.more(1).await;
    setup.delivered().await;
    for _ in 0..4 {
        setup.more(30).await;
        setup.brokers[0].restart().await;
    }
    setup.more(30).await;
    let verdict = setup.close().await;
    assert!(verdict.resets.is_empty(), "the log outlives the broker: {verdict}");
}
