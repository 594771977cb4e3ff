//! Compares the hubs of two nodes with a reference model. Events are published, lost, trimmed,
//! rolled back, interrupted and resumed on either node, in any order. Logs end and begin again.
//!
//! Each client gets each of its events once, and logged ones in order, or a reset; and no event of
//! other clients.

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

/// A step of a scenario.
#[derive(Debug, Clone)]
enum SubscriberStep {
    /// Logs an event; its announcement arrives unless the link is down or loses it.
    Publish {
        announced: bool,
        to: To,
    },
    /// Logs an event by plain commands; an empty message announces it.
    PublishPlainly {
        to: To,
    },
    /// Publishes a live event.
    PublishLive,
    Trim {
        keep: usize,
    },
    RollBack {
        count: usize,
    },
    /// Ends the log, which may begin again; the clock may go back before its last entry.
    EndLog {
        clock_back: u64,
    },
    /// Announces an event that was never logged.
    Forge {
        ahead: u64,
    },
    Interrupt {
        node: usize,
    },
    Confirm {
        node: usize,
    },
    /// Completes the next read of a hub.
    CompleteRead {
        node: usize,
    },
    /// Writes the marks of live events that a hub needs.
    WriteMarks {
        node: usize,
    },
    /// Lets a client take its events, up to a number.
    Poll {
        client: usize,
        count: usize,
    },
    /// Lets time pass, and may sweep the hubs.
    Wait {
        milliseconds: u64,
        swept: bool,
    },
    /// Lets a client reconnect with its position.
    Reconnect {
        client: usize,
        node: usize,
    },
}

/// The clients of an event, a bit for each client with a user; 0 means all clients.
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
        8 => of_node(|node| SubscriberStep::CompleteRead { node }),
        2 => of_node(|node| SubscriberStep::WriteMarks { node }),
        6 => poll(5),
        2 => reconnect(),
    ]
}

/// The same with logs that end and begin again, and with false announcements.
fn step_of_new_logs() -> impl Strategy<Value = SubscriberStep> {
    prop_oneof![
        // On a link that is up, each event is announced.
        12 => step().prop_map(|step| match step {
            SubscriberStep::Publish { announced: false, to } => SubscriberStep::Publish { announced: true, to },
            step => step,
        }),
        2 => Just(SubscriberStep::EndLog { clock_back: 0 }),
        1 => (0u64..20).prop_map(|ahead| SubscriberStep::Forge { ahead }),
    ]
}

/// The same with a clock that goes back, so that a log repeats ids of its predecessor. It has no
/// events that are rolled back or published by plain commands: such an id would be ambiguous.
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

/// Clients that change nodes in mixed workspaces, on links that are up.
fn step_of_hops() -> impl Strategy<Value = SubscriberStep> {
    prop_oneof![
        4 => to().prop_map(|to| SubscriberStep::Publish { announced: true, to }),
        2 => Just(SubscriberStep::PublishLive),
        3 => of_node(|node| SubscriberStep::Confirm { node }),
        8 => of_node(|node| SubscriberStep::CompleteRead { node }),
        2 => of_node(|node| SubscriberStep::WriteMarks { node }),
        6 => poll(4),
        4 => reconnect(),
    ]
}

/// The same with failovers in the middle of replays: clients read the log ahead of their node, and
/// then the log loses these entries.
fn step_of_failovers() -> impl Strategy<Value = SubscriberStep> {
    prop_oneof![
        6 => publish(0.4),
        2 => (1usize..6).prop_map(|count| SubscriberStep::RollBack { count }),
        4 => of_node(|node| SubscriberStep::Confirm { node }),
        8 => of_node(|node| SubscriberStep::CompleteRead { node }),
        6 => poll(4),
        3 => reconnect(),
    ]
}

fn wait() -> impl Strategy<Value = SubscriberStep> {
    ((0u64..1500), prop::bool::ANY)
        .prop_map(|(milliseconds, swept)| SubscriberStep::Wait { milliseconds, swept })
}

/// The same with events beyond the rate limit.
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

/// A client as a web page has it: its events and its last event id.
struct Client {
    index: usize,
    subscriber: Option<Subscriber>,
    last_event_id: Option<String>,
    /// The numbers of the events that it knows, because it got them or fetched its state after a
    /// reset.
    known: BTreeSet<u64>,
    /// The greatest number of a logged event since it last fetched its state.
    greatest: u64,
    /// The numbers of live events that a node has received since the client first joined.
    owed: BTreeSet<u64>,
    joined: bool,
    /// The node of its connection.
    node: usize,
}

/// An event of the log.
#[derive(Debug, Clone, Copy)]
struct Published {
    number: u64,
    id: EntryId,
    to: To,
}

/// A node: its hub, and whether its subscription is confirmed.
struct Node {
    hub: Hub,
    metrics: Arc<Metrics>,
    is_confirmed: bool,
}

struct World {
    nodes: [Node; 2],
    log: Mutex<ModelLog>,
    /// The time of the hubs' clock in milliseconds.
    now: Arc<AtomicU64>,
    /// The events that were published and not rolled back, in order.
    alive: Vec<Published>,
    published: u64,
    milliseconds: u64,
    has_rates: bool,
    /// A log that begins again may repeat the ids of its predecessor.
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
            retention: Duration::MAX,
            traces_in_streams: false,
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
            Node { hub, metrics, is_confirmed: false }
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
                    self.send_message(&envelope::encode(id, previous, payload.as_bytes(), audience.as_ref()));
                }
            }
            SubscriberStep::PublishPlainly { to } => {
                self.append(to, true);
                self.send_message(&Bytes::new());
            }
            SubscriberStep::PublishLive => {
                self.published += 1;
                // A live event that no node receives is lost, and no node can detect it.
                if self.nodes.iter().any(|node| node.is_confirmed) {
                    for client in self.clients.iter_mut().filter(|client| client.last_event_id.is_some()) {
                        client.owed.insert(self.published);
                    }
                }
                self.send_message(&Bytes::from(format!("live {}", self.published)));
            }
            SubscriberStep::EndLog { clock_back } => {
                // No node can detect events that were published by plain commands and are gone
                // before a node has read them.
                for _ in 0..20 {
                    (0..2).for_each(|node| self.complete_read(node));
                }
                self.log.lock().end();
                // Positions of the log that has ended must not be valid in the next one, which may
                // repeat its ids.
                self.milliseconds = self.milliseconds.saturating_sub(clock_back);
            }
            SubscriberStep::Forge { ahead } => {
                let head = self.log.lock().head();
                let id = EntryId { milliseconds: head.milliseconds + ahead, sequence: 1_000_000 };
                self.send_message(&envelope::encode(id, EntryId::ZERO, b"false", None));
            }
            SubscriberStep::Trim { keep } => self.log.lock().trim(keep),
            // A failover: the link to the old server is lost with it.
            SubscriberStep::RollBack { count } => {
                (0..2).for_each(|node| self.interrupt(node));
                self.log.lock().roll_back(count);
                let head = self.log.lock().head();
                self.alive.retain(|event| event.id <= head);
                // The clock of the new server may be behind, but it never creates an id below the
                // end of its own log.
                self.milliseconds = head.milliseconds;
            }
            SubscriberStep::Interrupt { node } => self.interrupt(node),
            SubscriberStep::Confirm { node } => self.confirm(node),
            SubscriberStep::CompleteRead { node } => self.complete_read(node),
            SubscriberStep::WriteMarks { node } => self.write_marks(node),
            SubscriberStep::Poll { client, count } => self.poll(client, count),
            SubscriberStep::Reconnect { client, node } => self.reconnect(client, node),
            SubscriberStep::Wait { milliseconds, swept } => self.wait(milliseconds, swept),
        }
    }

    /// Delivers everything that is under way: the links are up, all reads are completed, all
    /// clients read.
    fn settle(&mut self) {
        self.arrive();
        // The next event reveals events whose announcements were lost.
        self.run(&SubscriberStep::Publish { announced: true, to: 0 });
        // Without further events, the resets for dropped events come after a time.
        self.wait(1000, true);
        self.arrive();
        self.wait(1000, true);
        self.arrive();
    }

    fn arrive(&mut self) {
        for _ in 0..100 {
            for node in 0..2 {
                self.confirm(node);
                self.complete_read(node);
                self.complete_read(node);
            }
            for client in 0..3 {
                self.poll(client, 100);
            }
        }
    }

    /// Sends a message on the channel to each node whose subscription is confirmed.
    fn send_message(&self, message: &Bytes) {
        for node in self.nodes.iter().filter(|node| node.is_confirmed) {
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
        // A log creates no id below its own end.
        self.milliseconds = self.milliseconds.max(log.head().milliseconds) + 1;
        // Ids of events that were rolled back are not repeated: their sequence part differs. Those
        // of a log that has ended are.
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
        self.nodes[node].is_confirmed = false;
        self.nodes[node].hub.interrupted();
    }

    /// Confirms the subscription of a node that holds the workspace.
    fn confirm(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if node.hub.workspaces() > 0 {
            node.is_confirmed = true;
            node.hub.confirmed(&workspace());
        }
    }

    fn complete_read(&mut self, node: usize) {
        // The log is on the server of this link; while the link is down, nothing is read.
        if self.nodes[node].is_confirmed
            && let Some(read) = self.nodes[node].hub.read_queue().take()
        {
            if read.span == Span::LiveMark {
                // The look comes so late that all earlier live events are marked.
                (0..2).for_each(|node| self.write_marks(node));
            }
            let page = self.log.lock().read(read.span, 2);
            self.nodes[node].hub.answer(&read, page);
        }
    }

    /// Writes marks that reach right beyond the newest entry, so that each live event needs one. In
    /// tests of rates, whose clock advances by itself, they reach beyond every entry.
    fn write_marks(&mut self, node: usize) {
        while self.nodes[node].hub.marks().take().is_some() {
            let mut log = self.log.lock();
            let mark = if self.has_rates { u64::MAX } else { log.head().milliseconds + 1 };
            let known = if let LiveMark::Until(known) = log.live { known } else { 0 };
            log.live = LiveMark::Until(mark.max(known));
            drop(log);
            if !self.has_rates {
                // The next live event needs a mark of its own.
                self.wait(u64::try_from(MARK_SLACK.as_millis()).unwrap(), false);
            }
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
                    client.fetch_state(&self.alive);
                    client.last_event_id = Some(position.to_string());
                }
                Next::Joined(Joined::Resumed { position }) => {
                    client.joined = true;
                    assert_eq!(position.unwrap().to_string(), *client.last_event_id.as_ref().unwrap());
                }
                Next::Joined(Joined::Unproven { head, .. }) => {
                    client.fetch_state(&self.alive);
                    client.last_event_id = Some(head.to_string());
                }
                Next::Joined(Joined::Newest) => panic!("no client asked for the newest"),
                Next::Event(bytes) | Next::Watched(bytes, _) | Next::Notice(bytes) => {
                    client.take(&bytes, &self.alive)
                }
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
                "client {index} misses {lost:?} and got no reset; it has {:?}",
                client.last_event_id
            );
        }
    }
}

impl Client {
    /// The client fetches its state from the application, so it knows every event published up to
    /// now.
    fn fetch_state(&mut self, alive: &[Published]) {
        self.joined = true;
        self.known.extend(alive.iter().map(|event| event.number));
        self.greatest = 0;
        self.owed.clear();
    }

    fn misses(&self, event: &Published) -> bool {
        is_for(event.to, self.index) && !self.known.contains(&event.number)
    }

    fn take(&mut self, frame: &Bytes, alive: &[Published]) {
        assert!(self.joined, "an event before connected");
        let text = std::str::from_utf8(frame).unwrap();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        if text.starts_with("event: tidings.reset") {
            self.fetch_state(alive);
        } else if !text.starts_with("event: tidings.heartbeat") {
            let data = field("data: ").unwrap();
            if let Some(number) = data.strip_prefix("live ") {
                self.owed.remove(&number.parse().unwrap());
                self.last_event_id = field("id: ").or(self.last_event_id.take());
                return;
            }
            if data == "false" {
                // It claims to follow the last event. Only a read of the log for each event could
                // disprove that.
                self.last_event_id = field("id: ").or(self.last_event_id.take());
                return;
            }
            let number: u64 = data.parse().unwrap();
            assert!(number > self.greatest, "{number} after {}: out of order or twice", self.greatest);
            self.greatest = number;
            self.known.insert(number);
            for event in alive.iter().filter(|event| event.number <= number) {
                assert!(event.number < number || is_for(event.to, self.index), "{number} is not for it");
                assert!(!self.misses(event), "{number} without a reset for {}", event.number);
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
    fn each_loss_causes_a_reset(steps in proptest::collection::vec(step(), 0..60)) {
        check(&steps, Rates::default());
    }

    #[test]
    fn each_loss_causes_a_reset_when_logs_begin_again(
        steps in proptest::collection::vec(step_of_new_logs(), 0..60),
    ) {
        check(&steps, Rates::default());
    }

    /// Clients get each durable event once or a reset, also if a log begins again below its last
    /// id.
    #[test]
    fn each_loss_causes_a_reset_when_clocks_go_back(
        steps in proptest::collection::vec(step_of_clocks(), 0..60),
    ) {
        check_world(World { repeats_ids: true, ..World::new(Rates::default()) }, &steps);
    }

    /// Clients that change nodes get each durable event once, and a reset if live events may be
    /// missing.
    #[test]
    fn each_loss_causes_a_reset_when_clients_change_nodes(
        steps in proptest::collection::vec(step_of_hops(), 0..60),
    ) {
        check(&steps, Rates::default());
    }

    /// Clients get each event or a reset, also under a rate limit.
    #[test]
    fn each_loss_causes_a_reset_when_rates_are_limited(
        steps in proptest::collection::vec(step_of_floods(), 0..60), rate in 1usize..4,
    ) {
        check(&steps, Rates::new(rate, 0));
    }

    /// A flood is held to its rate, with at most one reset a second.
    #[test]
    fn flood_keeps_its_rate_and_causes_one_reset_a_second(
        steps in proptest::collection::vec(step_of_pure_floods(), 0..80), rate in 1usize..4,
    ) {
        check_flood(&steps, rate);
    }

    /// Clients get each durable event once or a reset, also across failovers.
    #[test]
    fn each_loss_causes_a_reset_when_servers_fail_over(
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
    let mut last_reset: Option<(u64, u64)> = None;
    for step in steps {
        world.complete_read(0);
        world.run(step);
        world.write_marks(0);
        let Node { hub, metrics, .. } = &world.nodes[0];
        while let Some(read) = hub.read_queue().take() {
            hub.answer(&read, world.log.lock().read(read.span, 2));
        }
        let (now, resets) =
            (world.now.load(Ordering::Relaxed), metrics.resets(ResetReason::RateLimited.as_str()));
        let (last, before) = last_reset.map_or((None, 0), |(last, before)| (Some(last), before));
        if resets > before {
            assert_eq!(resets, before + 1, "more than one reset at a time");
            assert!(last.is_none_or(|last| now >= last + 1000), "resets at {now} and at {last:?}");
            last_reset = Some((now, resets));
        }
        let passed = metrics.events(EventKind::Live) + metrics.events(EventKind::Logged);
        let most = 2 * rate as u64 + rate as u64 * now / 1000;
        assert!(passed <= most, "{passed} events passed within {now} ms, at {rate} a second");
    }
    world.settle();
    world.check();
}
