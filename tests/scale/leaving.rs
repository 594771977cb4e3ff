//! Thousands of idle clients, some of which leave.

use std::time::{Duration, Instant};

use super::client::Leave;
use super::clients::ScaleClients;
use super::figures::print;
use super::patience::{PATIENCE, Patience};
use super::support::{Broker, eventually};
use super::{ALONE, drain, quiet};

/// Clients that come, and of them those that stay.
const MANY: (usize, usize) = (15_000, 10_000);
const FEWER: (usize, usize) = (3_000, 2_000);

#[tokio::test]
async fn leaving_5_000_of_15_000_are_noticed_others_drained() {
    leave("handoff", MANY).await;
}

#[tokio::test]
async fn http_server_notices_leaving_clients_and_drains_the_others() {
    leave("body", FEWER).await;
}

/// Nothing is sent to the clients that leave, and nothing probes them within the patience of this
/// test: the kernel reports them.
async fn leave(writer: &str, (clients, stay): (usize, usize)) {
    let _alone = ALONE.lock().await;
    let options = quiet()
        .set("delivery.writer", writer)
        .set("server.keepalive_seconds", 2 * PATIENCE.as_secs())
        .set("server.drain_seconds", drain::WINDOW.as_secs());
    let mut broker = Broker::start_ready(options).await;
    let mut crowd = ScaleClients::gathered(broker.address(), "acme", clients);
    let gauge = if writer == "handoff" { "tidings_connections_handed_off" } else { "tidings_connections" };
    let count = async |gauge: &str| broker.metric(gauge).await.expect("a metric");
    assert_eq!(count(gauge).await, clients as f64);

    let began = Instant::now();
    for client in stay..clients {
        crowd.leave(client, if client % 2 == 0 { Leave::Politely } else { Leave::Abruptly });
    }
    let hung_up = began.elapsed();
    eventually("those who left are missed", PATIENCE, async || {
        count("tidings_subscribers").await == stay as f64 && count(gauge).await == stay as f64
    })
    .await;
    print(&format!(
        "leaving ({writer}): {} of {clients} left within {hung_up:?}, and were missed {:?} after the first of them left",
        clients - stay,
        began.elapsed()
    ));
    let patience = Patience::waiting_for("a moment has passed");
    let end = Instant::now() + Duration::from_millis(100);
    while Instant::now() < end {
        crowd.turn(&patience, |seen| panic!("something was sent: {seen:?}"));
    }
    drain::drain(writer, &mut broker, &mut crowd).await;
}
