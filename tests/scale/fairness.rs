//! One client beside a workspace of thousands, on the same shard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::backend::{Backend, StopOnDrop};
use super::client::Sight;
use super::clients::{ScaleClients, Seen};
use super::figures::{Times, print};
use super::patience::Patience;
use super::support::Broker;
use super::{ALONE, quiet};

const MANY: usize = 17_000;

const BURSTS: u64 = 8;

/// Events in a burst.
const EVENTS: u64 = 10;

/// In 99 of 100 cases the single client gets its event within this part of the time of a burst to
/// all others.
const PART: f64 = 0.25;

/// An event of the single client: when it was published, and how long it took.
type Delivery = (Instant, Duration);

/// A small workspace does not wait for a large one on the same shard, at full size.
#[tokio::test]
async fn one_client_is_served_beside_17_000_on_its_shard() {
    let _alone = ALONE.lock().await;
    let broker = Broker::start_ready(quiet().set("delivery.shards", 1)).await;
    let mut many = ScaleClients::gathered(broker.address(), "many", MANY);
    let stop = AtomicBool::new(false);
    let (bursts, alone) = std::thread::scope(|scope| {
        // Also where the test fails meanwhile.
        let stopping = StopOnDrop(&stop);
        let single = scope.spawn(|| serve_single(&broker, &stop));
        let bursts = sweep(&broker, &mut many);
        drop(stopping);
        (bursts, single.join().unwrap())
    });
    let during = |(at, _): &&Delivery| bursts.iter().any(|(from, to)| (from..to).contains(&at));
    let beside = Times::new(alone.iter().filter(during).map(|(_, took)| *took).collect());
    let between = Times::new(alone.iter().filter(|it| !during(it)).map(|(_, took)| *took).collect());
    // A frozen machine spoils a burst, so the middle one of all bursts counts.
    let mut parts: Vec<f64> = bursts.iter().filter_map(|burst| part_of_burst(burst, &alone)).collect();
    parts.sort_unstable_by(f64::total_cmp);
    let sweeps = Times::new(bursts.iter().map(|(from, to)| to.duration_since(*from)).collect());
    print(&format!(
        "fairness: a burst reaches {MANY} in {:?} (median of {}); one beside them: median {:?}, p99 {:?}, longest {:?} of {}; \
         between bursts: median {:?}, p99 {:?}",
        sweeps.median(),
        sweeps.count(),
        beside.median(),
        beside.percentile(99),
        beside.longest(),
        beside.count(),
        between.median(),
        between.percentile(99),
    ));
    assert!(beside.count() >= 100, "too few were measured");
    assert_eq!(parts.len(), bursts.len(), "a burst was not measured");
    assert!(parts[parts.len() / 2] < PART, "{parts:?}");
}

/// The worst hundredth of the single client's events during a burst, as a part of the burst's time.
fn part_of_burst((from, to): &(Instant, Instant), alone: &[Delivery]) -> Option<f64> {
    let during = alone.iter().filter(|(at, _)| (from..to).contains(&at));
    let times: Vec<_> = during.map(|(_, took)| *took).collect();
    if times.is_empty() {
        return None;
    }
    Some(Times::new(times).percentile(99).as_secs_f64() / to.duration_since(*from).as_secs_f64())
}

/// Publishes bursts, and returns when each began and when the last of the many had all of it.
fn sweep(broker: &Broker, many: &mut ScaleClients) -> Vec<(Instant, Instant)> {
    let mut backend = Backend::of(broker);
    let mut numbers = vec![0; MANY];
    let mut bursts = Vec::new();
    for burst in 0..BURSTS {
        let last = (burst + 1) * EVENTS;
        let began = backend.publish("many", burst * EVENTS..last);
        let patience = Patience::waiting_for("all have the burst");
        let mut reached = 0;
        let mut ended = began;
        while reached < MANY {
            many.turn(&patience, |Seen { client, what, at }| {
                assert_eq!(what, Sight::Event(numbers[client]), "client {client}");
                numbers[client] += 1;
                if numbers[client] == last {
                    reached += 1;
                    ended = at;
                }
            });
        }
        bursts.push((began, ended));
        std::thread::sleep(Duration::from_millis(100));
    }
    bursts
}

/// Publishes to the single client, one event when the last has come.
fn serve_single(broker: &Broker, stop: &AtomicBool) -> Vec<Delivery> {
    let mut crowd = ScaleClients::gathered(broker.address(), "single", 1);
    let mut backend = Backend::of(broker);
    let mut deliveries = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let began = backend.publish("single", number..number + 1);
        let patience = Patience::waiting_for("the single one has its event");
        let mut come = None;
        while come.is_none() {
            crowd.turn(&patience, |seen| {
                assert_eq!(seen.what, Sight::Event(number));
                come = Some(seen.at.saturating_duration_since(began));
            });
        }
        deliveries.extend(come.map(|took| (began, took)));
        std::thread::sleep(Duration::from_millis(1));
    }
    deliveries
}
