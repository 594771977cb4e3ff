//! Thousands of streams that end: because their clients leave, or because the node does.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::crowd::Crowd;
use super::figures::{print, tenths, unevenness};
use super::member::{Leave, Sight};
use super::patience::{PATIENCE, Patience};
use super::support::{Broker, eventually};
use super::{ALONE, quiet};

/// Over which the ends are spread in a drain.
const WINDOW: Duration = Duration::from_secs(4);

#[tokio::test]
async fn of_10_000_idle_clients_5_000_that_leave_are_missed_at_once() {
    leave("handoff", 10_000).await;
}

#[tokio::test]
async fn of_2_000_idle_clients_1_000_that_leave_are_missed_by_the_http_server() {
    leave("body", 2_000).await;
}

#[tokio::test]
async fn a_drain_of_10_000_ends_each_stream_properly_and_one_after_the_other() {
    drain("handoff", 10_000).await;
}

#[tokio::test]
async fn a_drain_of_2_000_by_the_http_server_ends_each_stream_properly_and_one_after_the_other() {
    drain("body", 2_000).await;
}

/// Nothing is sent to those who are left, and nothing probes them before the patience of this test is over: they are missed because the
/// kernel tells.
async fn leave(writer: &str, clients: usize) {
    let _alone = ALONE.lock().await;
    let broker = Broker::start_ready(
        quiet().set("delivery.writer", writer).set("server.keepalive_seconds", 2 * PATIENCE.as_secs()),
    )
    .await;
    let mut crowd = Crowd::gathered(broker.address(), "acme", clients);
    let metric = async |name: &str| broker.metric(name).await.expect("a metric") as usize;
    let bytes = metric("tidings_delivered_bytes_total").await;
    let gauge = if writer == "handoff" { "tidings_connections_handed_off" } else { "tidings_connections" };
    assert_eq!(metric(gauge).await, clients);

    let began = Instant::now();
    for client in (0..clients).step_by(2) {
        crowd.leave(client, if client % 4 == 0 { Leave::Politely } else { Leave::Abruptly });
    }
    let hung_up = began.elapsed();
    let rest = clients - clients / 2;
    eventually("those who left are missed", PATIENCE, async || {
        metric("tidings_subscribers").await == rest && metric(gauge).await == rest
    })
    .await;
    print(&format!(
        "leaving ({writer}): {} of {clients} left within {hung_up:?}, and were missed {:?} after the first left",
        clients / 2,
        began.elapsed()
    ));
    assert_eq!(metric("tidings_delivered_bytes_total").await, bytes, "something was sent meanwhile");
    assert_eq!(crowd.len(), rest);
}

async fn drain(writer: &str, clients: usize) {
    let _alone = ALONE.lock().await;
    let options = quiet().set("delivery.writer", writer).set("server.drain_seconds", WINDOW.as_secs());
    let mut broker = Broker::start_ready(options).await;
    let mut crowd = Crowd::gathered(broker.address(), "acme", clients);
    let mut told = vec![false; clients];
    let mut ends = Vec::new();
    let began = Instant::now();
    broker.signal(Signal::SIGTERM);
    let patience = Patience::for_what("all streams have ended");
    while crowd.len() > 0 {
        crowd.turn(&patience, |seen| match seen.what {
            Sight::Reconnect => told[seen.client] = true,
            Sight::Closed { whole } => {
                assert!(whole && told[seen.client], "client {} was cut", seen.client);
                ends.push(seen.at.duration_since(began));
            }
            what => panic!("{what:?}"),
        });
    }
    let exit = broker.ended(PATIENCE).await;
    let tenths = tenths(ends.iter().copied(), Duration::ZERO, WINDOW);
    print(&format!(
        "drain ({writer}): {clients} ended within {:?}, in tenths of {WINDOW:?}: {tenths:?}, fullest {:.2} times the mean; \
         the program after {:?}",
        ends.last().expect("somebody"),
        unevenness(&tenths),
        began.elapsed(),
    ));
    assert!(exit.success(), "{exit}");
    // A machine that stands still for a while makes a tenth fuller.
    assert!(unevenness(&tenths) < 4.0, "{tenths:?}");
}
