//! A broker is slower than the server, and the server closes its connection with all pending
//! messages.

use std::time::Duration;

use nix::sys::signal::Signal;
use tidings_testkit::ledger::{Setting, Setup, Way, tell};

use crate::support::{DEADLINE, RedisServer, eventually};

/// Takes the bound on what may be pending for a subscriber down to something that a burst passes.
async fn bound_output(redis: &RedisServer) {
    tell(redis, &["CONFIG", "SET", "client-output-buffer-limit", "pubsub 65536 65536 1"]).await;
}

/// How many brokers the server sends to; `None` where it is too busy to say.
async fn subscribers(redis: &RedisServer) -> Option<u64> {
    let answer = redis.try_command::<(String, u64)>(&["PUBSUB", "NUMSUB", "workspace:ledger-0"]).await;
    answer.ok().map(|(_, count)| count)
}

#[tokio::test]
async fn server_drops_a_node_with_a_full_output_buffer() {
    let mut setting = Setting::default();
    // A request to a frozen broker would hold the publisher.
    setting.publishers.ways = vec![Way::Script];
    setting.publishers.padding = 30_000;
    setting.publishers.pace = Duration::from_millis(4);
    let (redis, setup) = Setup::open("output buffer of a broker full", setting).await;
    bound_output(&redis).await;
    setup.more(20).await;
    for round in 0..2 {
        setup.brokers[round].signal(Signal::SIGSTOP);
        // What fits into the kernel's buffers is still sent; the rest piles up in the server, which
        // ends no link for another reason.
        eventually("the server cuts the broker off", DEADLINE * 2, async || {
            subscribers(&redis).await == Some(1)
        })
        .await;
        setup.brokers[round].signal(Signal::SIGCONT);
        eventually("the broker is back", DEADLINE * 2, async || subscribers(&redis).await == Some(2)).await;
        setup.more(20).await;
    }
    for publisher in &setup.publishers {
        publisher.set_pace(Duration::from_millis(50));
    }
    setup.more(20).await;
    setup.close().await;
}
