//! Brokers end, or freeze, and their clients go to others.

use std::time::Duration;

use nix::sys::signal::Signal;
use tidings_testkit::ledger::{Setting, Setup, Way};

use super::{WITHOUT_HTTP, setting, setting_with_residents};

/// How long a broker may take to end, when asked.
const END: Duration = Duration::from_secs(10);

#[tokio::test]
async fn brokers_are_restarted_one_after_the_other() {
    let (_redis, mut setup) = Setup::open("mixed, rolling restart", setting(&Way::ALL)).await;
    for round in 0..4 {
        setup.more(8).await;
        assert_eq!(setup.brokers[round % 3].terminate(END).await, Some(0));
        setup.brokers[round % 3].restart().await;
        setup.brokers[round % 3].ready().await;
    }
    setup.more(8).await;
    setup.close().await;
}

#[tokio::test]
async fn brokers_are_killed() {
    let (_redis, mut setup) = Setup::open("mixed, broker kill -9", setting(&WITHOUT_HTTP)).await;
    for round in 0..4 {
        setup.more(10).await;
        setup.kill(round % 3);
        setup.more(10).await;
        setup.brokers[round % 3].restart().await;
    }
    setup.more(10).await;
    setup.close().await;
}

/// Stops one broker after another, each for so many seconds.
async fn stop_brokers(name: &str, setting: Setting, seconds: [f64; 3]) {
    let (_redis, setup) = Setup::open(name, setting).await;
    for (round, seconds) in seconds.into_iter().enumerate() {
        setup.more(8).await;
        let broker = &setup.brokers[1 + round % 2];
        broker.signal(Signal::SIGSTOP);
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        broker.signal(Signal::SIGCONT);
    }
    setup.more(8).await;
    setup.close().await;
}

#[tokio::test]
async fn frozen_node_loses_its_clients() {
    let setting = setting_with_residents(&WITHOUT_HTTP);
    stop_brokers("mixed, SIGSTOP of a broker", setting, [1.0, 4.0, 8.0]).await;
}

/// What is published meanwhile reaches no other node.
#[tokio::test]
async fn frozen_only_node_of_a_workspace_loses_its_clients() {
    let mut setting = setting(&WITHOUT_HTTP);
    for mixed in &mut setting.mixed {
        mixed.stay.get_or_insert(super::STAY);
    }
    stop_brokers("mixed, SIGSTOP of the only broker of a workspace", setting, [1.0, 4.0, 8.0]).await;
}

/// Nothing breaks; clients come and go.
#[tokio::test]
async fn clients_hop_between_brokers() {
    let mut setting = setting(&Way::ALL);
    for mixed in &mut setting.mixed {
        mixed.stay = Some(super::STAY);
    }
    let (_redis, setup) = Setup::open("mixed, clients hop", setting).await;
    setup.more(100).await;
    let verdict = setup.close().await;
    assert!(verdict.reconnects > 50, "{verdict}");
}
