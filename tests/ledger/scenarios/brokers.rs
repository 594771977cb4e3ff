//! Brokers end and come back.

use std::time::Duration;

use crate::publisher::Way;
use crate::scene::{Scene, Setting};

/// How long a broker may take to end, when asked.
const END: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_broker_is_killed_and_started_again() {
    let (_redis, mut scene) = Scene::open("broker kill -9", Setting::default()).await;
    for round in 0..4 {
        scene.more(20).await;
        scene.brokers[round % 2].kill();
        scene.more(20).await;
        scene.brokers[round % 2].restart().await;
    }
    scene.more(20).await;
    let verdict = scene.close().await;
    assert!(verdict.reconnects >= 8, "{verdict}");
}

#[tokio::test]
async fn both_brokers_are_restarted_one_after_the_other() {
    let (_redis, mut scene) = Scene::open("rolling restart", Setting::default()).await;
    for round in 0..4 {
        scene.more(20).await;
        assert_eq!(scene.brokers[round % 2].terminate(END).await, Some(0));
        scene.brokers[round % 2].restart().await;
        scene.brokers[round % 2].ready().await;
    }
    scene.more(20).await;
    let verdict = scene.close().await;
    assert!(verdict.reconnects >= 8, "{verdict}");
}

/// The log is in the broker itself, and on its disk before anything is acknowledged.
#[tokio::test]
async fn a_broker_with_a_bus_of_its_own_is_killed_and_started_again() {
    let mut setting = Setting::default();
    setting.publishers.ways = vec![Way::Post, Way::PostOnce, Way::Function, Way::Plain];
    setting.brokers.push(("embedded.path", "logs".to_owned()));
    setting.brokers.push(("embedded.sync", "always".to_owned()));
    let mut scene = Scene::open_embedded("kill -9 of a broker on the embedded bus", setting).await;
    scene.more(1).await;
    scene.delivered().await;
    for _ in 0..4 {
        scene.more(30).await;
        scene.brokers[0].restart().await;
    }
    scene.more(30).await;
    let verdict = scene.close().await;
    assert!(verdict.resets.is_empty(), "the log outlives the broker: {verdict}");
}
