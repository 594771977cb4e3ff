//! The Redis server stands still, or is restarted.

use std::time::Duration;

use super::{links, setting};
use crate::publisher::Way;
use crate::scene::{Scene, Setting};

/// Publishing fails while the server is away; when it is back, it has to go on within this time.
const RECOVERY: Duration = Duration::from_secs(40);

#[tokio::test]
async fn the_server_stands_still() {
    let (redis, scene) = Scene::open("mixed, SIGSTOP of Redis", setting(&Way::ALL)).await;
    // The last is longer than it takes brokers to notice.
    for seconds in [1, 1, 6] {
        scene.more_within(8, RECOVERY).await;
        redis.freeze();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        redis.thaw();
    }
    links::all_ready(&scene.brokers, RECOVERY).await;
    scene.more_within(8, RECOVERY).await;
    scene.close().await;
}

#[tokio::test]
async fn the_server_is_restarted_with_its_file() {
    let setting = Setting { append_only: true, ..setting(&Way::ALL) };
    let (mut redis, scene) = Scene::open("mixed, Redis restart, append-only file", setting).await;
    for _ in 0..3 {
        scene.more_within(10, RECOVERY).await;
        redis.restart().await;
        links::all_ready(&scene.brokers, RECOVERY).await;
    }
    scene.more_within(10, RECOVERY).await;
    scene.close().await;
}
