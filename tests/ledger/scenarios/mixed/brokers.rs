//! Brokers end, or stand still, and their clients go to others.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{WITHOUT_HTTP, setting, setting_with_residents};
use crate::publisher::Way;
use crate::scene::{Scene, Setting};

/// How long a broker may take to end, when asked.
const END: Duration = Duration::from_secs(10);

#[tokio::test]
async fn brokers_are_restarted_one_after_the_other() {
    let (_redis, mut scene) = Scene::open("mixed, rolling restart", setting(&Way::ALL)).await;
    for round in 0..4 {
        scene.more(8).await;
        assert_eq!(scene.brokers[round % 3].terminate(END).await, Some(0));
        scene.brokers[round % 3].restart().await;
        scene.brokers[round % 3].ready().await;
    }
    scene.more(8).await;
    scene.close().await;
}

#[tokio::test]
async fn brokers_are_killed() {
    let (_redis, mut scene) = Scene::open("mixed, broker kill -9", setting(&WITHOUT_HTTP)).await;
    for round in 0..4 {
        scene.more(10).await;
        scene.kill(round % 3);
        scene.more(10).await;
        scene.brokers[round % 3].restart().await;
    }
    scene.more(10).await;
    scene.close().await;
}

/// Stops one broker after another, each for so many seconds.
async fn stop_brokers(name: &str, setting: Setting, seconds: [f64; 3]) {
    let (_redis, scene) = Scene::open(name, setting).await;
    for (round, seconds) in seconds.into_iter().enumerate() {
        scene.more(8).await;
        let broker = &scene.brokers[1 + round % 2];
        broker.signal(Signal::SIGSTOP);
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        broker.signal(Signal::SIGCONT);
    }
    scene.more(8).await;
    scene.close().await;
}

#[tokio::test]
async fn a_broker_stands_still_and_its_clients_leave() {
    let setting = setting_with_residents(&WITHOUT_HTTP);
    stop_brokers("mixed, SIGSTOP of a broker", setting, [1.0, 4.0, 8.0]).await;
}

/// What is published meanwhile reaches no other node.
#[tokio::test]
async fn the_only_broker_of_a_workspace_stands_still_and_its_clients_leave() {
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
    let (_redis, scene) = Scene::open("mixed, clients hop", setting).await;
    scene.more(100).await;
    let verdict = scene.close().await;
    assert!(verdict.reconnects > 50, "{verdict}");
}
