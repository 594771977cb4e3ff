//! The hub against a reference model: whatever is published, lost, trimmed, rolled back, interrupted and resumed, in any
//! order, a client gets each logged event that is for it once and in order, or is told; and none that is not for it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::model_log::ModelLog;
use super::*;
use crate::auth::UserId;
use crate::event::control::ResetReason;
use crate::event::{Audience, EntryId, envelope};
use crate::metrics::EventKind;

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    /// An event is logged; its announcement arrives unless the link is down or it is lost.
    Publish {
        announced: bool,
        to: To,
    },
    /// As by plain commands: logged, and announced by an empty message.
    PublishPlainly {
        to: To,
    },
    /// An event is published without the log.
    PublishLive,
    Trim {
        keep: usize,
    },
    RollBack {
        count: usize,
    },
    Interrupt,
    Confirm,
    /// The next read that the hub wants is answered.
    AnswerRead,
    /// A client takes what there is for it, up to a number of events.
    Poll {
        client: usize,
        count: usize,
    },
    /// Time passes, and perhaps the hub is swept.
    Wait {
        milliseconds: u64,
        swept: bool,
    },
    /// A client loses its connection and comes back with its position.
    Reconnect {
        client: usize,
    },
}

/// For which of the clients an event is, a bit for each of those that have a user; none means everybody.
type To = u8;

/// The third client has no user.
const USERS: [&str; 2] = ["u0", "u1"];

fn is_for(to: To, client: usize) -> bool {
    to == 0 || to & (1 << client) != 0
}

fn to() -> impl Strategy<Value = To> {
    prop_oneof![2 => Just(0), 1 => 1u8..4]
}

fn publish(announced: f64) -> impl Strategy<Value = Step> {
    (prop::bool::weighted(announced), to()).prop_map(|(announced, to)| Step::Publish { announced, to })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => publish(0.8),
        1 => to().prop_map(|to| Step::PublishPlainly { to }),
        2 => Just(Step::PublishLive),
        1 => (1usize..6).prop_map(|keep| Step::Trim { keep }),
        1 => (1usize..4).prop_map(|count| Step::RollBack { count }),
        1 => Just(Step::Interrupt),
        2 => Just(Step::Confirm),
        5 => Just(Step::AnswerRead),
        6 => ((0usize..3), (1usize..5)).prop_map(|(client, count)| Step::Poll { client, count }),
        2 => (0usize..3).prop_map(|client| Step::Reconnect { client }),
    ]
}

/// The same with failovers in the middle of replays: clients read the log ahead of what the node was told, and then the log
/// loses just that.
fn step_of_failovers() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => publish(0.4),
        2 => (1usize..6).prop_map(|count| Step::RollBack { count }),
        3 => Just(Step::Confirm),
        6 => Just(Step::AnswerRead),
        6 => ((0usize..3), (1usize..4)).prop_map(|(client, count)| Step::Poll { client, count }),
        3 => (0usize..3).prop_map(|client| Step::Reconnect { client }),
    ]
}

fn wait() -> impl Strategy<Value = Step> {
    ((0u64..1500), prop::bool::ANY).prop_map(|(milliseconds, swept)| Step::Wait { milliseconds, swept })
}

/// The same with events that come faster than they may.
fn step_of_floods() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => step(),
        4 => publish(1.0),
        2 => wait(),
    ]
}

/// Floods alone, on a link that never fails.
fn step_of_pure_floods() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => to().prop_map(|to| Step::Publish { announced: true, to }),
        1 => to().prop_map(|to| Step::PublishPlainly { to }),
        2 => Just(Step::PublishLive),
        3 => wait(),
        3 => ((0usize..3), (1usize..5)).prop_map(|(client, count)| Step::Poll { client, count }),
        1 => (0usize..3).prop_map(|client| Step::Reconnect { client }),
    ]
}

/// A client as a page has it: what it received, and its last event id.
struct Client {
    index: usize,
    subscriber: Option<Subscriber>,
    last_event_id: Option<String>,
    /// Numbers of events that it knows of: by having got them, or by being told to fetch its state anew.
    known: BTreeSet<u64>,
    /// The greatest number of a logged event received since it was last told to start over.
    greatest: u64,
    /// Numbers of live events that were published while it was connected.
    owed: BTreeSet<u64>,
    joined: bool,
}

/// An event of the log.
#[derive(Debug, Clone, Copy)]
struct Published {
    number: u64,
    id: EntryId,
    to: To,
}

struct World {
    hub: Hub,
    log: Mutex<ModelLog>,
    metrics: Arc<Metrics>,
    /// What the hub's clock shows, in milliseconds.
    now: Arc<AtomicU64>,
    /// The events that were published and not rolled back, in order.
    alive: Vec<Published>,
    published: u64,
    milliseconds: u64,
    link: bool,
    /// A live event has come through, so that the node knows that there are such.
    shown_live: bool,
    clients: Vec<Client>,
}

impl World {
    fn new(rates: Rates) -> Self {
        let settings = HubSettings {
            ring_events: 5,
            ring_bytes: 1 << 20,
            ring_bytes_in_all: 1 << 30,
            rates,
            event_bytes: 64,
            linger: Duration::from_secs(30),
            workspaces: 100,
        };
        let (metrics, now) = (Arc::new(Metrics::new()), Arc::new(AtomicU64::new(0)));
        let read = Arc::clone(&now);
        let clock = Clock::new(move || Duration::from_millis(read.load(Ordering::Relaxed)));
        let interest = Arc::new(Interest::default());
        let hub = Hub::with_clock(NodeId::random(), settings, interest, Arc::clone(&metrics), clock);
        let clients = (0..3)
            .map(|index| Client {
                index,
                subscriber: None,
                last_event_id: None,
                known: BTreeSet::new(),
                greatest: 0,
                owed: BTreeSet::new(),
                joined: false,
            })
            .collect();
        let mut world = Self {
            hub,
            log: Mutex::default(),
            metrics,
            now,
            alive: Vec::new(),
            published: 0,
            milliseconds: 0,
            link: false,
            shown_live: false,
            clients,
        };
        for client in 0..3 {
            world.reconnect(client);
        }
        world
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Publish { announced, to } => {
                let (id, previous, payload) = self.append(to);
                if announced && self.link {
                    let audience = audience(to);
                    let message = envelope::encode(id, previous, payload.as_bytes(), audience.as_ref());
                    self.hub.message(&workspace(), message);
                }
            }
            Step::PublishPlainly { to } => {
                self.append(to);
                if self.link {
                    self.hub.message(&workspace(), Bytes::new());
                }
            }
            Step::PublishLive => {
                self.published += 1;
                // The first one of a workspace that otherwise logs everything, lost with the link: nothing can tell.
                if self.link || self.shown_live {
                    for client in self.clients.iter_mut().filter(|client| client.joined) {
                        client.owed.insert(self.published);
                    }
                }
                if self.link {
                    self.shown_live = true;
                    self.hub.message(&workspace(), Bytes::from(format!("live {}", self.published)));
                }
            }
            Step::Trim { keep } => self.log.lock().trim(keep),
            // A failover: the link to the old server is lost with it.
            Step::RollBack { count } => {
                self.interrupt();
                self.log.lock().roll_back(count);
                let head = self.log.lock().head();
                self.alive.retain(|event| event.id <= head);
                // The clock of the new server may be behind, but it never gives out an id below its own log's end.
                self.milliseconds = head.milliseconds;
            }
            Step::Interrupt => self.interrupt(),
            Step::Confirm => self.confirm(),
            Step::AnswerRead => self.answer_read(),
            Step::Poll { client, count } => self.poll(client, count),
            Step::Reconnect { client } => self.reconnect(client),
            Step::Wait { milliseconds, swept } => self.wait(milliseconds, swept),
        }
    }

    /// Sees to it that everything that is under way arrives: the link stands, all reads are answered, all clients read.
    fn settle(&mut self) {
        self.confirm();
        for _ in 0..200 {
            self.answer_read();
            for client in 0..3 {
                self.poll(client, 100);
            }
        }
        // What was announced on a link that lost the announcement shows with the next event.
        self.run(&Step::Publish { announced: true, to: 0 });
        // What was dropped is told after a while, if nothing more comes.
        self.wait(1000, true);
        for _ in 0..200 {
            self.answer_read();
            for client in 0..3 {
                self.poll(client, 100);
            }
        }
        self.wait(1000, true);
        for client in 0..3 {
            self.poll(client, 100);
        }
    }

    fn wait(&mut self, milliseconds: u64, swept: bool) {
        self.now.fetch_add(milliseconds, Ordering::Relaxed);
        if swept {
            self.hub.sweep(Instant::now());
        }
    }

    fn append(&mut self, to: To) -> (EntryId, EntryId, String) {
        self.published += 1;
        self.milliseconds += 1;
        // Ids of events that were rolled back are not given out again: their sequence part differs.
        let id = EntryId { milliseconds: self.milliseconds, sequence: self.published };
        let payload = self.published.to_string();
        let audience = audience(to);
        let json = audience.as_ref().map(Audience::as_json);
        let previous = self.log.lock().append_to(id, &payload, json);
        self.alive.push(Published { number: self.published, id, to });
        (id, previous, payload)
    }

    fn interrupt(&mut self) {
        self.link = false;
        self.hub.interrupted();
    }

    fn confirm(&mut self) {
        self.link = true;
        self.hub.confirmed(&workspace());
    }

    fn answer_read(&mut self) {
        // The log is on the server whose link this is; while it is down nothing is read.
        if self.link
            && let Some(read) = self.hub.reads().take()
        {
            self.hub.answer(&read, self.log.lock().read(read.span, 2));
        }
    }

    fn reconnect(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.subscriber = None;
        let start = client.last_event_id.as_deref().map_or(Start::Head, |id| Start::After(Resume::new(id)));
        client.joined = false;
        let user = USERS.get(index).map(|user| UserId::parse(user).unwrap().key());
        let view = View { user, ..View::default() };
        client.subscriber = Some(self.hub.join(&workspace(), start, view).unwrap());
    }

    fn poll(&mut self, index: usize, count: usize) {
        for _ in 0..count {
            let client = &mut self.clients[index];
            let Some(subscriber) = &mut client.subscriber else { return };
            let Poll::Ready(next) = subscriber.poll_next(&Context::from_waker(Waker::noop())) else { return };
            match next {
                Next::Joined(Joined::Fresh { position }) => {
                    client.begin_anew(&self.alive);
                    client.last_event_id = Some(position.to_string());
                }
                Next::Joined(Joined::Resumed { position }) => {
                    client.joined = true;
                    assert_eq!(position.unwrap().to_string(), *client.last_event_id.as_ref().unwrap());
                }
                Next::Joined(Joined::Unproven { head, .. }) => {
                    client.begin_anew(&self.alive);
                    client.last_event_id = Some(head.to_string());
                }
                Next::Joined(Joined::Newest) => panic!("nobody asked for the newest"),
                Next::Event(bytes) | Next::Notice(bytes) => client.take(&bytes, &self.alive),
                Next::Lagging | Next::Unavailable => {
                    self.reconnect(index);
                }
            }
        }
    }

    fn check(&self) {
        for (index, client) in self.clients.iter().enumerate() {
            let lost: Vec<_> = self.alive.iter().filter(|event| client.misses(event)).collect();
            assert!(client.owed.is_empty(), "client {index} misses the live events {:?}", client.owed);
            assert!(
                lost.is_empty(),
                "client {index} misses {lost:?} and was not told; it has {:?}",
                client.last_event_id
            );
        }
    }
}

impl Client {
    /// The client fetches its state from the application: whatever was published up to now it knows.
    fn begin_anew(&mut self, alive: &[Published]) {
        self.joined = true;
        self.known.extend(alive.iter().map(|event| event.number));
        self.greatest = 0;
        self.owed.clear();
    }

    fn misses(&self, event: &Published) -> bool {
        is_for(event.to, self.index) && !self.known.contains(&event.number)
    }

    fn take(&mut self, frame: &Bytes, alive: &[Published]) {
        assert!(self.joined, "an event before the hello");
        let text = std::str::from_utf8(frame).unwrap();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        if text.starts_with("event: tidings.reset") {
            self.begin_anew(alive);
        } else {
            let data = field("data: ").unwrap();
            if let Some(number) = data.strip_prefix("live ") {
                self.owed.remove(&number.parse().unwrap());
                self.last_event_id = field("id: ").or(self.last_event_id.take());
                return;
            }
            let number: u64 = data.parse().unwrap();
            assert!(number > self.greatest, "{number} after {}: out of order or twice", self.greatest);
            self.greatest = number;
            self.known.insert(number);
            for event in alive.iter().filter(|event| event.number <= number) {
                assert!(event.number < number || is_for(event.to, self.index), "{number} is not for it");
                assert!(!self.misses(event), "{number}, and nothing was said of {}", event.number);
            }
        }
        self.last_event_id = field("id: ").or(self.last_event_id.take());
    }
}

fn audience(to: To) -> Option<Audience> {
    let users: Vec<_> = USERS.iter().enumerate().filter(|(index, _)| to & (1 << index) != 0).collect();
    Audience::new(&users.iter().map(|(_, user)| user).collect::<Vec<_>>()).ok()
}

fn workspace() -> WorkspaceId {
    WorkspaceId::parse("acme").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_in_silence(steps in proptest::collection::vec(step(), 0..60)) {
        check(&steps, Rates::default());
    }

    #[test]
    fn nothing_is_lost_in_silence_where_rates_are_limited(
        steps in proptest::collection::vec(step_of_floods(), 0..60), rate in 1usize..4,
    ) {
        check(&steps, Rates::new(rate, 0));
    }

    #[test]
    fn a_flood_is_held_to_its_rate_and_told_once_a_second(
        steps in proptest::collection::vec(step_of_pure_floods(), 0..80), rate in 1usize..4,
    ) {
        check_flood(&steps, rate);
    }

    #[test]
    fn nothing_is_lost_in_silence_where_servers_fail_over(
        steps in proptest::collection::vec(step_of_failovers(), 0..60),
    ) {
        check(&steps, Rates::default());
    }
}

fn check(steps: &[Step], rates: Rates) {
    let mut world = World::new(rates);
    for step in steps {
        world.run(step);
    }
    world.settle();
    world.check();
}

fn check_flood(steps: &[Step], rate: usize) {
    let mut world = World::new(Rates::new(rate, 0));
    world.confirm();
    let mut told: Option<(u64, u64)> = None;
    for step in steps {
        world.answer_read();
        world.run(step);
        while let Some(read) = world.hub.reads().take() {
            world.hub.answer(&read, world.log.lock().read(read.span, 2));
        }
        let (now, resets) =
            (world.now.load(Ordering::Relaxed), world.metrics.resets(ResetReason::RateLimited));
        let (last, before) = told.map_or((None, 0), |(last, before)| (Some(last), before));
        if resets > before {
            assert_eq!(resets, before + 1, "told more than once at a time");
            assert!(last.is_none_or(|last| now >= last + 1000), "told at {now} and at {last:?}");
            told = Some((now, resets));
        }
        let passed = world.metrics.events(EventKind::Live) + world.metrics.events(EventKind::Logged);
        let most = 2 * rate as u64 + rate as u64 * now / 1000;
        assert!(passed <= most, "{passed} events passed within {now} ms, at {rate} a second");
    }
    world.settle();
    world.check();
}
