//! A broker does not keep up with what the server sends it, and the server cuts it off with all that was pending.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::scene::{Scene, Setting, tell};
use crate::support::{DEADLINE, eventually};

/// Takes the bound on what may be pending for a subscriber down to something that a burst passes.
async fn bound_output(scene: &Scene) {
    tell(&scene.redis, &["CONFIG", "SET", "client-output-buffer-limit", "pubsub 65536 65536 1"]).await;
}

async fn disconnections(scene: &Scene) -> u64 {
    let stats = scene.redis.info("stats").await;
    let line = stats.lines().find_map(|line| line.strip_prefix("client_output_buffer_limit_disconnections:"));
    line.expect("a counter of Redis").trim().parse().expect("a number")
}

#[tokio::test]
async fn the_server_drops_a_broker_whose_output_buffer_is_full() {
    let mut setting = Setting::default();
    setting.publishers.padding = 20_000;
    setting.publishers.pace = Duration::from_millis(5);
    let scene = Scene::open("output buffer of a broker full", setting).await;
    bound_output(&scene).await;
    scene.more(20).await;
    for round in 0..2 {
        let before = disconnections(&scene).await;
        scene.brokers[round].signal(Signal::SIGSTOP);
        // What fits into the kernel's buffers is still sent; the rest piles up in the server.
        eventually("the server cuts the broker off", DEADLINE * 2, async || {
            disconnections(&scene).await > before
        })
        .await;
        scene.brokers[round].signal(Signal::SIGCONT);
        scene.more(20).await;
    }
    for publisher in &scene.publishers {
        publisher.set_pace(Duration::from_millis(50));
    }
    scene.more(20).await;
    scene.close().await;
}
