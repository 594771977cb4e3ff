//! Two nodes' hubs against a reference model: whatever is published, lost, trimmed, rolled back, begun anew, interrupted and resumed on
//! whichever node, in any order, a client gets each event that is for it once, and logged ones in order, or is told; and none that is not
//! for it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::model_log::ModelLog;
use super::*;
use tidings_event::UserId;
use tidings_event::control::ResetReason;
use tidings_event::log::{LiveMark, Span};
use tidings_event::{Audience, EntryId, envelope};
use tidings_metrics::EventKind;

/// What may happen.
#[derive(Debug, Clone)]
enum SubscriberStep {
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
    /// The log ends and may be begun anew; the clock perhaps goes back before its last entry.
    EndLog {
        clock_back: u64,
    },
    /// A message announces an event that was never logged.
    Forge {
        ahead: u64,
    },
    Interrupt {
        node: usize,
    },
    Confirm {
        node: usize,
    },
    /// The next read that a hub wants is answered.
    AnswerRead {
        node: usize,
    },
    /// The marks of live events that a hub wants are written.
    WriteMarks {
        node: usize,
    },
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
        node: usize,
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

fn publish(announced: f64) -> impl Strategy<Value = SubscriberStep> {
    (prop::bool::weighted(announced), to())
        .prop_map(|(announced, to)| SubscriberStep::Publish { announced, to })
}

fn reconnect() -> impl Strategy<Value = SubscriberStep> {
    ((0usize..3), (0usize..2)).prop_map(|(client, node)| SubscriberStep::Reconnect { client, node })
}

fn poll(most: usize) -> impl Strategy<Value = SubscriberStep> {
    ((0usize..3), (1usize..most)).prop_map(|(client, count)| SubscriberStep::Poll { client, count })
}

fn of_node(step: impl Fn(usize) -> SubscriberStep) -> impl Strategy<Value = SubscriberStep> {
    (0usize..2).prop_map(step)
}

fn step() -> impl Strategy<Value = SubscriberStep> {
    prop_oneof![
        6 => publish(0.8),
        1 => to().prop_map(|to| SubscriberStep::PublishPlainly { to }),
        2 => Just(SubscriberStep::PublishLive),
        1 => (1usize..6).prop_map(|keep| SubscriberStep::Trim { keep }),
        1 => (1usize..4).prop_map(|count| SubscriberStep::RollBack { count }),
        1 => of_node(|node| SubscriberStep::Interrupt { node }),
        3 => of_node(|node| SubscriberStep::Confirm { node }),
        8 => of_node(|node| SubscriberStep::AnswerRead { node }),
        2 => of_node(|node| SubscriberStep::WriteMarks { node }),
        6 => poll(5),
        2 => reconnect(),
    ]
}

/// The same with logs that end and are begun anew, and with false announcements.
fn step_of_new_logs() -> impl Strategy<Value = SubscriberStep> {
    prop_oneof![
        // On a link that stands, each event is announced.
        12 => step().prop_map(|step| match step {
            SubscriberStep::Publish { announced: false, to } => SubscriberStep::Publish { announced: true, to },
            step => step,
        }),
        2 => Just(SubscriberStep::EndLog { clock_back: 0 }),
        1 => (0u64..20).prop_map(|ahead| SubscriberStep::Forge { ahead }),
    ]
}

/// The same with a clock that goes back, so that a log gives out the ids of the one before again. Of events that were rolled back or
/// published by plain commands nothing would tell which of the two is meant.
fn step_of_clocks() -> impl Strategy<Value = SubscriberStep> {
    prop_oneof![
        12 => step_of_new_logs().prop_map(|step| match step {
            SubscriberStep::PublishPlainly { to } => SubscriberStep::Publish { announced: true, to },
            SubscriberStep::RollBack { .. } => SubscriberStep::PublishLive,
            step => step,
        }),
        2 => (0u64..6).prop_map(|clock_back| SubscriberStep::EndLog { clock_back }),
    ]
}

/// Clients that hop in mixed workspaces, on links that stand.
fn step_of_hops() -> impl Strategy<Value = SubscriberStep> {
    prop_oneof![
        4 => to().prop_map(|to| SubscriberStep::Publish { announced: true, to }),
        2 => Just(SubscriberStep::PublishLive),
        3 => of_node(|node| SubscriberStep::Confirm { node }),
        8 => of_node(|node| SubscriberStep::AnswerRead { node }),
        2 => of_node(|node| SubscriberStep::WriteMarks { node }),
        6 => poll(4),
        4 => reconnect(),
    ]
}

/// The same with failovers in the middle of replays: clients read the log ahead of what the node was told, and then the log
/// loses just that.
fn step_of_failovers() -> impl Strategy<Value = SubscriberStep> {
    prop_oneof![
        6 => publish(0.4),
        2 => (1usize..6).prop_map(|count| SubscriberStep::RollBack { count }),
        4 => of_node(|node| SubscriberStep::Confirm { node }),
        8 => of_node(|node| SubscriberStep::AnswerRead { node }),
        6 => poll(4),
        3 => reconnect(),
    ]
}

fn wait() -> impl Strategy<Value = SubscriberStep> {
    ((0u64..1500), prop::bool::ANY)
        .prop_map(|(milliseconds, swept)| SubscriberStep::Wait { milliseconds, swept })
}

/// The same with events that come faster than they may.
fn step_of_floods() -> impl Strategy<Value = SubscriberStep> {
    prop_oneof![
        6 => step(),
        4 => publish(1.0),
        2 => wait(),
    ]
}

/// Floods alone, on a link that never fails.
fn step_of_pure_floods() -> impl Strategy<Value = SubscriberStep> {
    prop_oneof![
        6 => to().prop_map(|to| SubscriberStep::Publish { announced: true, to }),
        1 => to().prop_map(|to| SubscriberStep::PublishPlainly { to }),
        2 => Just(SubscriberStep::PublishLive),
        3 => wait(),
        3 => poll(5),
        1 => (0usize..3).prop_map(|client| SubscriberStep::Reconnect { client, node: 0 }),
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
    /// Numbers of live events that a node has heard since the client first joined.
    owed: BTreeSet<u64>,
    joined: bool,
    /// Where it is connected.
    node: usize,
}

/// An event of the log.
#[derive(Debug, Clone, Copy)]
struct Published {
    number: u64,
    id: EntryId,
    to: To,
}

/// A node: its hub, and whether its subscription stands.
struct Node {
    hub: Hub,
    metrics: Arc<Metrics>,
    stands: bool,
}

struct World {
    nodes: [Node; 2],
    log: Mutex<ModelLog>,
    /// What the hubs' clock shows, in milliseconds.
    now: Arc<AtomicU64>,
    /// The events that were published and not rolled back, in order.
    alive: Vec<Published>,
    published: u64,
    milliseconds: u64,
    has_rates: bool,
    /// A log that was begun anew may give out the ids of the one before.
    repeats_ids: bool,
    clients: Vec<Client>,
}

impl World {
    fn new(rates: Rates) -> Self {
        let settings = HubSettings {
            ring_events: 5,
            ring_bytes: 1 << 20,
            ring_bytes_in_all: 1 << 30,
            replay_bytes: 1 << 30,
            rates,
            event_bytes: 64,
            linger: Duration::from_secs(30),
            workspaces: 100,
            live: LiveEvents::Auto,
        };
        let now = Arc::new(AtomicU64::new(0));
        let nodes = [(), ()].map(|()| {
            let (metrics, read) = (Arc::new(Metrics::new()), Arc::clone(&now));
            let clock = Clock::new(move || Duration::from_millis(read.load(Ordering::Relaxed)));
            let desired_subscriptions = Arc::new(DesiredSubscriptions::default());
            let hub = Hub::with_clock(
                NodeId::random(),
                settings,
                desired_subscriptions,
                Arc::clone(&metrics),
                clock,
            );
            Node { hub, metrics, stands: false }
        });
        let clients = (0..3)
            .map(|index| Client {
                index,
                subscriber: None,
                last_event_id: None,
                known: BTreeSet::new(),
                greatest: 0,
                owed: BTreeSet::new(),
                joined: false,
                node: 0,
            })
            .collect();
        let mut world = Self {
            nodes,
            log: Mutex::default(),
            now,
            alive: Vec::new(),
            published: 0,
            milliseconds: 0,
            has_rates: rates != Rates::default(),
            repeats_ids: false,
            clients,
        };
        for client in 0..3 {
            world.reconnect(client, 0);
        }
        world
    }

    fn run(&mut self, step: &SubscriberStep) {
        match *step {
            SubscriberStep::Publish { announced, to } => {
                let (id, previous, payload) = self.append(to, false);
                if announced {
                    let audience = audience(to);
                    self.say(&envelope::encode(id, previous, payload.as_bytes(), audience.as_ref()));
                }
            }
            SubscriberStep::PublishPlainly { to } => {
                self.append(to, true);
                self.say(&Bytes::new());
            }
            SubscriberStep::PublishLive => {
                self.published += 1;
                // What no node hears is lost, and nothing can tell.
                if self.nodes.iter().any(|node| node.stands) {
                    for client in self.clients.iter_mut().filter(|client| client.last_event_id.is_some()) {
                        client.owed.insert(self.published);
                    }
                }
                self.say(&Bytes::from(format!("live {}", self.published)));
                if !self.has_rates {
                    // The next one wants a mark of its own.
                    self.wait(u64::try_from(MARK_SLACK.as_millis()).unwrap(), false);
                }
            }
            SubscriberStep::EndLog { clock_back } => {
                // What was published by plain commands and is gone before a node has read it, nothing can tell.
                for _ in 0..20 {
                    (0..2).for_each(|node| self.answer_read(node));
                }
                self.log.lock().end();
                // Positions of the log that has ended must not be good in the next one, which may give out the same ids.
                self.milliseconds = self.milliseconds.saturating_sub(clock_back);
            }
            SubscriberStep::Forge { ahead } => {
                let head = self.log.lock().head();
                let id = EntryId { milliseconds: head.milliseconds + ahead, sequence: 1_000_000 };
                self.say(&envelope::encode(id, EntryId::ZERO, b"false", None));
            }
            SubscriberStep::Trim { keep } => self.log.lock().trim(keep),
            // A failover: the link to the old server is lost with it.
            SubscriberStep::RollBack { count } => {
                (0..2).for_each(|node| self.interrupt(node));
                self.log.lock().roll_back(count);
                let head = self.log.lock().head();
                self.alive.retain(|event| event.id <= head);
                // The clock of the new server may be behind, but it never gives out an id below its own log's end.
                self.milliseconds = head.milliseconds;
            }
            SubscriberStep::Interrupt { node } => self.interrupt(node),
            SubscriberStep::Confirm { node } => self.confirm(node),
            SubscriberStep::AnswerRead { node } => self.answer_read(node),
            SubscriberStep::WriteMarks { node } => self.write_marks(node),
            SubscriberStep::Poll { client, count } => self.poll(client, count),
            SubscriberStep::Reconnect { client, node } => self.reconnect(client, node),
            SubscriberStep::Wait { milliseconds, swept } => self.wait(milliseconds, swept),
        }
    }

    /// Sees to it that everything that is under way arrives: the links stand, all reads are answered, all clients read.
    fn settle(&mut self) {
        self.arrive();
        // What was announced on a link that lost the announcement shows with the next event.
        self.run(&SubscriberStep::Publish { announced: true, to: 0 });
        // What was dropped is told after a while, if nothing more comes.
        self.wait(1000, true);
        self.arrive();
        self.wait(1000, true);
        self.arrive();
    }

    fn arrive(&mut self) {
        for _ in 0..100 {
            for node in 0..2 {
                self.confirm(node);
                self.answer_read(node);
                self.answer_read(node);
            }
            for client in 0..3 {
                self.poll(client, 100);
            }
        }
    }

    /// A message on the channel, which reaches each node whose subscription stands.
    fn say(&self, message: &Bytes) {
        for node in self.nodes.iter().filter(|node| node.stands) {
            node.hub.message(&workspace(), message.clone());
        }
    }

    fn wait(&mut self, milliseconds: u64, swept: bool) {
        self.now.fetch_add(milliseconds, Ordering::Relaxed);
        if swept {
            self.nodes.iter().for_each(|node| {
                node.hub.sweep(Instant::now());
            });
        }
    }

    fn append(&mut self, to: To, plainly: bool) -> (EntryId, EntryId, String) {
        self.published += 1;
        let mut log = self.log.lock();
        // A log gives out no id below its own end.
        self.milliseconds = self.milliseconds.max(log.head().milliseconds) + 1;
        // Ids of events that were rolled back are not given out again: their sequence part differs. Those of a log that has ended are.
        let sequence = if self.repeats_ids { 0 } else { self.published };
        let id = EntryId { milliseconds: self.milliseconds, sequence };
        let payload = self.published.to_string();
        let audience = audience(to);
        let json = audience.as_ref().map(Audience::as_json);
        let previous =
            if plainly { log.append_plainly(id, &payload, json) } else { log.append_to(id, &payload, json) };
        drop(log);
        self.alive.push(Published { number: self.published, id, to });
        (id, previous, payload)
    }

    fn interrupt(&mut self, node: usize) {
        self.nodes[node].stands = false;
        self.nodes[node].hub.interrupted();
    }

    /// The subscription to a workspace that a node holds is confirmed.
    fn confirm(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if node.hub.workspaces() > 0 {
            node.stands = true;
            node.hub.confirmed(&workspace());
        }
    }

    fn answer_read(&mut self, node: usize) {
        // The log is on the server whose link this is; while it is down nothing is read.
        if self.nodes[node].stands
            && let Some(read) = self.nodes[node].hub.read_queue().take()
        {
            if read.span == Span::LiveMark {
                // It comes so much later that what was heard before is marked.
                (0..2).for_each(|node| self.write_marks(node));
            }
            let page = self.log.lock().read(read.span, 2);
            self.nodes[node].hub.answer(&read, page);
        }
    }

    /// Marks reach right beyond the newest entry, so that each live event wants one; where time stands for rates, beyond all.
    fn write_marks(&mut self, node: usize) {
        while self.nodes[node].hub.marks().take().is_some() {
            let mut log = self.log.lock();
            let mark = if self.has_rates { u64::MAX } else { log.head().milliseconds + 1 };
            let known = if let LiveMark::Until(known) = log.live { known } else { 0 };
            log.live = LiveMark::Until(mark.max(known));
        }
    }

    fn reconnect(&mut self, index: usize, node: usize) {
        let client = &mut self.clients[index];
        client.subscriber = None;
        let start = client.last_event_id.as_deref().map_or(Start::Head, |id| Start::After(Resume::new(id)));
        (client.joined, client.node) = (false, node);
        let user = USERS.get(index).map(|user| UserId::parse(user).unwrap().key());
        let filter = SubscriptionFilter { user, ..SubscriptionFilter::default() };
        client.subscriber = Some(self.nodes[node].hub.join(&workspace(), start, filter).unwrap());
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
                    let node = client.node;
                    self.reconnect(index, node);
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
        } else if !text.starts_with("event: tidings.heartbeat") {
            let data = field("data: ").unwrap();
            if let Some(number) = data.strip_prefix("live ") {
                self.owed.remove(&number.parse().unwrap());
                self.last_event_id = field("id: ").or(self.last_event_id.take());
                return;
            }
            if data == "false" {
                // It follows the last event by its own word: without a read of the log for each event it cannot be told.
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

    /// In any order of publishing, trimming, rollback, interruption and resuming, a client gets
    /// each durable event once and in order, or a reset.
    #[test]
    fn nothing_is_lost_in_silence(steps in proptest::collection::vec(step(), 0..60)) {
        check(&steps, Rates::default());
    }

    #[test]
    fn nothing_is_lost_in_silence_where_logs_are_begun_anew(
        steps in proptest::collection::vec(step_of_new_logs(), 0..60),
    ) {
        check(&steps, Rates::default());
    }

    /// Clients get each durable event once or a reset, also if a log begins again below its last
    /// id.
    #[test]
    fn nothing_is_lost_in_silence_where_clocks_go_back(
        steps in proptest::collection::vec(step_of_clocks(), 0..60),
    ) {
        check_world(World { repeats_ids: true, ..World::new(Rates::default()) }, &steps);
    }

    /// Clients that change nodes get each durable event once, and a reset if live events may be
    /// missing.
    #[test]
    fn nothing_is_lost_in_silence_where_clients_hop(
        steps in proptest::collection::vec(step_of_hops(), 0..60),
    ) {
        check(&steps, Rates::default());
    }

    /// Clients get each event or a reset, also under a rate limit.
    #[test]
    fn nothing_is_lost_in_silence_where_rates_are_limited(
        steps in proptest::collection::vec(step_of_floods(), 0..60), rate in 1usize..4,
    ) {
        check(&steps, Rates::new(rate, 0));
    }

    /// A flood is held to its rate, with at most one reset a second.
    #[test]
    fn a_flood_is_held_to_its_rate_and_told_once_a_second(
        steps in proptest::collection::vec(step_of_pure_floods(), 0..80), rate in 1usize..4,
    ) {
        check_flood(&steps, rate);
    }

    /// Clients get each durable event once or a reset, also across failovers.
    #[test]
    fn nothing_is_lost_in_silence_where_servers_fail_over(
        steps in proptest::collection::vec(step_of_failovers(), 0..60),
    ) {
        check(&steps, Rates::default());
    }
}

fn check(steps: &[SubscriberStep], rates: Rates) {
    check_world(World::new(rates), steps);
}

fn check_world(mut world: World, steps: &[SubscriberStep]) {
    for step in steps {
        world.run(step);
    }
    world.settle();
    world.check();
}

fn check_flood(steps: &[SubscriberStep], rate: usize) {
    let mut world = World::new(Rates::new(rate, 0));
    world.confirm(0);
    let mut told: Option<(u64, u64)> = None;
    for step in steps {
        world.answer_read(0);
        world.run(step);
        world.write_marks(0);
        let Node { hub, metrics, .. } = &world.nodes[0];
        while let Some(read) = hub.read_queue().take() {
            hub.answer(&read, world.log.lock().read(read.span, 2));
        }
        let (now, resets) =
            (world.now.load(Ordering::Relaxed), metrics.resets(ResetReason::RateLimited.as_str()));
        let (last, before) = told.map_or((None, 0), |(last, before)| (Some(last), before));
        if resets > before {
            assert_eq!(resets, before + 1, "told more than once at a time");
            assert!(last.is_none_or(|last| now >= last + 1000), "told at {now} and at {last:?}");
            told = Some((now, resets));
        }
        let passed = metrics.events(EventKind::Live) + metrics.events(EventKind::Logged);
        let most = 2 * rate as u64 + rate as u64 * now / 1000;
        assert!(passed <= most, "{passed} events passed within {now} ms, at {rate} a second");
    }
    world.settle();
    world.check();
}
