//! Scripts and functions of publishers are removed.

use tidings_testkit::ledger::{Setting, Setup, tell};

#[tokio::test]
async fn scripts_are_flushed_in_the_middle() {
    let (redis, setup) = Setup::open("SCRIPT FLUSH", Setting::default()).await;
    for _ in 0..10 {
        setup.more(10).await;
        tell(&redis, &["SCRIPT", "FLUSH", "SYNC"]).await;
    }
    let verdict = setup.close().await;
    assert_eq!(verdict.durable.published, verdict.durable.acknowledged, "nobody noticed: {verdict}");
    assert!(verdict.resets.is_empty(), "{verdict}");
}

/// Functions are missing until a broker makes a link again; nothing else depends on them.
#[tokio::test]
async fn functions_are_flushed_in_the_middle() {
    let (redis, setup) = Setup::open("FUNCTION FLUSH", Setting::default()).await;
    setup.more(20).await;
    tell(&redis, &["FUNCTION", "FLUSH"]).await;
    setup.more(50).await;
    redis.kill_subscribers().await;
    setup.more(50).await;
    let verdict = setup.close().await;
    assert!(verdict.durable.acknowledged < verdict.durable.published, "FCALL failed meanwhile: {verdict}");
}
