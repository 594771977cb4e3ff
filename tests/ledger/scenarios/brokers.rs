//! Brokers end and come back.

use std::time::Duration;

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
