//! What publishers stand on is taken away.

use crate::scene::{Scene, Setting, tell};

#[tokio::test]
async fn scripts_are_flushed_in_the_middle() {
    let (redis, scene) = Scene::open("SCRIPT FLUSH", Setting::default()).await;
    for _ in 0..10 {
        scene.more(10).await;
        tell(&redis, &["SCRIPT", "FLUSH", "SYNC"]).await;
    }
    let verdict = scene.close().await;
    assert_eq!(verdict.durable.published, verdict.durable.acknowledged, "nobody noticed: {verdict}");
    assert!(verdict.resets.is_empty(), "{verdict}");
}

/// Functions are gone until a broker makes a link anew; nothing else depends on them.
#[tokio::test]
async fn functions_are_flushed_in_the_middle() {
    let (redis, scene) = Scene::open("FUNCTION FLUSH", Setting::default()).await;
    scene.more(20).await;
    tell(&redis, &["FUNCTION", "FLUSH"]).await;
    scene.more(50).await;
    redis.kill_subscribers().await;
    scene.more(50).await;
    let verdict = scene.close().await;
    assert!(verdict.durable.acknowledged < verdict.durable.published, "FCALL failed meanwhile: {verdict}");
}
