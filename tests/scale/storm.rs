//! Thousands of clients that come all at once, while others are served.

use std::time::{Duration, Instant};

use super::backend::LoadPublisher;
use super::crowd::{Coming, ScaleClients};
use super::figures::print;
use super::following::Following;
use super::patience::Patience;
use super::support::Broker;
use super::{ALONE, quiet};

const SERVED: usize = 500;

/// How often those who are served get an event, and how often those who come.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_OF_STORM: Duration = Duration::from_millis(500);

/// The longest that one of the served may get nothing on a machine that stands still now and then, whatever the storm.
const STANDSTILL: Duration = Duration::from_secs(3);

/// A storm of new clients does not delay others, at full size.
#[tokio::test]
async fn a_storm_of_10_000_disturbs_nobody_who_is_served() {
    storm("handoff", 10_000).await;
}

#[tokio::test]
async fn a_storm_of_2_000_disturbs_nobody_whom_the_http_server_serves() {
    storm("body", 2_000).await;
}

async fn storm(writer: &str, clients: usize) {
    let _alone = ALONE.lock().await;
    let broker = Broker::start_ready(quiet().set("delivery.writer", writer)).await;
    let mut served = ScaleClients::gathered(broker.address(), "served", SERVED);
    let press = LoadPublisher::default();
    let (took, following) = std::thread::scope(|scope| {
        let stop = press.stop_on_drop();
        scope.spawn(|| press.run(&broker, "served", PAUSE));
        let serving = scope.spawn(|| follow(&mut served, &press));
        let took = come(&broker, clients);
        drop(stop);
        (took, serving.join().unwrap())
    });
    print(&format!(
        "storm ({writer}): {clients} came within {took:?}; meanwhile {SERVED} got {} events with pauses of {PAUSE:?}, \
         the longest gap of any was {:?}",
        following.events(),
        following.longest_gap(),
    ));
    assert!(following.longest_gap() < took / 2 + STANDSTILL, "they were not served meanwhile");
}

/// Reads until all have everything that was published.
fn follow(crowd: &mut ScaleClients, press: &LoadPublisher) -> Following {
    let patience = Patience::for_what("those who are served have every event");
    let mut following = Following::of(crowd.len());
    while !press.total().is_some_and(|total| following.all_have(total)) {
        crowd.turn(&patience, |seen| following.see(seen));
    }
    following
}

/// Has a crowd come while events are published to it. Answers how long it took until everybody had a hello; each gets every
/// event from the first that it got.
fn come(broker: &Broker, clients: usize) -> Duration {
    let press = LoadPublisher::default();
    std::thread::scope(|scope| {
        let stop = press.stop_on_drop();
        scope.spawn(|| press.run(broker, "storm", PAUSE_OF_STORM));
        let mut crowd = ScaleClients::of(broker.address());
        let mut following = Following::of(clients);
        let began = Instant::now();
        crowd.come("storm", Coming::at_once(clients), |seen| following.see(seen));
        let took = began.elapsed();
        drop(stop);
        let patience = Patience::for_what("everybody of the storm has the last event");
        while !press.total().is_some_and(|total| following.all_have(total)) {
            crowd.turn(&patience, |seen| following.see(seen));
        }
        took
    })
}
