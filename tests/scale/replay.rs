//! A client that resumes after ten thousand events, on a shard that is busy with others.

use std::time::{Duration, Instant};

use super::backend::Backend;
use super::client::Sight;
use super::clients::{Coming, ScaleClients};
use super::figures::{Times, print};
use super::following::Following;
use super::patience::Patience;
use super::support::Broker;
use super::{ALONE, quiet};

/// What was missed: far more than the node holds in its ring, so most of it is read from the log.
const MISSED: u64 = 10_000;

/// Clients that are served meanwhile, with one event after the other. The time of an event for all
/// of them is far below the time of a replay.
const OTHERS: usize = 100;

/// How often the replay is repeated at most, until one leaves the others alone. A busy machine
/// disturbs some of them; a shard that does a replay in one go delays the others in each.
const ROUNDS: usize = 5;

/// How many events the others get before, to compare with.
const BEFORE: u64 = 40;

/// While the replay lasts, nine of ten events reach the others within this part of its time.
const PART: u32 = 4;

/// A long replay does not delay other clients, at full size.
#[tokio::test]
async fn replay_of_10_000_events_delays_no_other_client() {
    let _alone = ALONE.lock().await;
    let options = quiet().set("delivery.shards", 1).set("retention.events", 2 * MISSED);
    let broker = Broker::start_ready(options).await;
    let mut backend = Backend::of(&broker);
    let known = backend.log("past", 0..1).remove(0);
    for begin in (1..=MISSED).step_by(1000) {
        backend.log("past", begin..begin + 1000);
    }
    let mut others = Others::gather(&broker);
    for _ in 0..BEFORE {
        others.serve();
    }
    let before = others.taken();
    let waited = (0..ROUNDS).all(|_| {
        let took = std::thread::scope(|scope| {
            let replay = scope.spawn(|| replay(&broker, &known));
            while !replay.is_finished() {
                others.serve();
            }
            replay.join().unwrap()
        });
        let during = others.taken();
        print(&format!(
            "replay: {MISSED} events to one client in {took:?}; {OTHERS} others: an event takes {:?} before \
             (p90 {:?}, longest {:?} of {}), {:?} meanwhile (p90 {:?}, longest {:?} of {})",
            before.median(),
            before.percentile(90),
            before.longest(),
            before.count(),
            during.median(),
            during.percentile(90),
            during.longest(),
            during.count(),
        ));
        during.percentile(90) >= took / PART
    });
    assert!(!waited, "the others waited for each replay");
}

/// Resumes a client, and returns how long it took until it had every event, in order.
fn replay(broker: &Broker, known: &str) -> Duration {
    let mut crowd = ScaleClients::of(broker.address());
    let mut following = Following::after(0);
    let coming = Coming { query: format!("?last_event_id={known}"), ..Coming::in_order(1) };
    let began = Instant::now();
    crowd.come("past", coming, |seen| following.see(seen));
    let patience = Patience::waiting_for("everything that was missed");
    while !following.all_have(MISSED + 1) {
        crowd.turn(&patience, |seen| following.see(seen));
    }
    began.elapsed()
}

/// Clients of another workspace.
struct Others {
    crowd: ScaleClients,
    backend: Backend,
    next: u64,
    taken: Vec<Duration>,
}

impl Others {
    fn gather(broker: &Broker) -> Self {
        let crowd = ScaleClients::gathered(broker.address(), "others", OTHERS);
        Self { crowd, backend: Backend::of(broker), next: 0, taken: Vec::new() }
    }

    /// Publishes an event, and notes how long it takes to each.
    fn serve(&mut self) {
        let number = self.next;
        let began = self.backend.publish("others", number..number + 1);
        let before = self.taken.len();
        let patience = Patience::waiting_for("the others have their event");
        while self.taken.len() < before + OTHERS {
            self.crowd.turn(&patience, |seen| {
                assert_eq!(seen.what, Sight::Event(number));
                self.taken.push(seen.at.saturating_duration_since(began));
            });
        }
        self.next += 1;
        std::thread::sleep(Duration::from_millis(1));
    }

    /// The times since this was last asked for.
    fn taken(&mut self) -> Times {
        Times::new(std::mem::take(&mut self.taken))
    }
}
