//! Thousands of clients that come all at once, while others are served.

use std::time::{Duration, Instant};

use super::backend::LoadPublisher;
use super::clients::{Coming, ScaleClients};
use super::figures::{print, tenths};
use super::following::Following;
use super::patience::Patience;
use super::support::Broker;
use super::{ALONE, quiet};

const SERVED: usize = 500;

/// The pause between events for the served clients, and for the new ones.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_OF_STORM: Duration = Duration::from_millis(500);

/// The number of tenths of the storm in which the served get events, at least. A machine that
/// freezes for a moment empties one or two; a node that serves only the storm empties nearly all.
const TENTHS: usize = 6;

/// A storm of new clients does not delay others, at full size.
#[tokio::test]
async fn storm_of_10_000_leaves_served_clients_their_events() {
    storm("handoff", 10_000).await;
}

#[tokio::test]
async fn storm_of_2_000_leaves_http_server_clients_their_events() {
    storm("body", 2_000).await;
}

async fn storm(writer: &str, clients: usize) {
    let _alone = ALONE.lock().await;
    let broker = Broker::start_ready(quiet().set("delivery.writer", writer)).await;
    let mut served = ScaleClients::gathered(broker.address(), "served", SERVED);
    let publisher = LoadPublisher::default();
    let ((began, took), (following, moments)) = std::thread::scope(|scope| {
        let stop = publisher.stop_on_drop();
        scope.spawn(|| publisher.run(&broker, "served", PAUSE));
        let serving = scope.spawn(|| follow(&mut served, &publisher));
        let storm = come(&broker, clients);
        drop(stop);
        (storm, serving.join().unwrap())
    });
    let moments = moments.iter().map(|at| at.saturating_duration_since(began));
    let tenths = tenths(moments, Duration::ZERO, took);
    print(&format!(
        "storm ({writer}): {clients} came within {took:?}; meanwhile {SERVED} got {} events with pauses of {PAUSE:?}, \
         in tenths of the storm {tenths:?}, the longest gap of any was {:?}",
        following.events(),
        following.longest_gap(),
    ));
    assert!(tenths.iter().filter(|tenth| **tenth > 0).count() >= TENTHS, "{tenths:?}");
}

/// Reads until all have everything that was published. Returns the moment of each event too.
fn follow(crowd: &mut ScaleClients, publisher: &LoadPublisher) -> (Following, Vec<Instant>) {
    let patience = Patience::waiting_for("those who are served have every event");
    let (mut following, mut moments) = (Following::of(crowd.len()), Vec::new());
    while !publisher.total().is_some_and(|total| following.all_have(total)) {
        crowd.turn(&patience, |seen| {
            moments.push(seen.at);
            following.see(seen);
        });
    }
    (following, moments)
}

/// Connects a crowd while events are published to it. Returns how long it took until each client
/// was connected; each gets every event from its first one.
fn come(broker: &Broker, clients: usize) -> (Instant, Duration) {
    let publisher = LoadPublisher::default();
    std::thread::scope(|scope| {
        let stop = publisher.stop_on_drop();
        scope.spawn(|| publisher.run(broker, "storm", PAUSE_OF_STORM));
        let mut crowd = ScaleClients::of(broker.address());
        let mut following = Following::of(clients);
        let began = Instant::now();
        crowd.come("storm", Coming::at_once(clients), |seen| following.see(seen));
        let took = began.elapsed();
        drop(stop);
        let patience = Patience::waiting_for("everybody of the storm has the last event");
        while !publisher.total().is_some_and(|total| following.all_have(total)) {
            crowd.turn(&patience, |seen| following.see(seen));
        }
        (began, took)
    })
}
