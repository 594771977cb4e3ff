//! The hub against a reference model: whatever is published, lost, trimmed, rolled back, interrupted and resumed, in any
//! order, a client gets each logged event once and in order, or is told.

use std::collections::BTreeSet;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::model_log::ModelLog;
use super::*;
use crate::event::{EntryId, envelope};

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    /// An event is logged; its announcement arrives unless the link is down or it is lost.
    Publish {
        announced: bool,
    },
    /// As by plain commands: logged, and announced by an empty message.
    PublishPlainly,
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
    /// A client loses its connection and comes back with its position.
    Reconnect {
        client: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::bool::weighted(0.8).prop_map(|announced| Step::Publish { announced }),
        1 => Just(Step::PublishPlainly),
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
        6 => prop::bool::weighted(0.4).prop_map(|announced| Step::Publish { announced }),
        2 => (1usize..6).prop_map(|count| Step::RollBack { count }),
        3 => Just(Step::Confirm),
        6 => Just(Step::AnswerRead),
        6 => ((0usize..3), (1usize..4)).prop_map(|(client, count)| Step::Poll { client, count }),
        3 => (0usize..3).prop_map(|client| Step::Reconnect { client }),
    ]
}

/// A client as a page has it: what it received, and its last event id.
struct Client {
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

struct World {
    hub: Hub,
    log: Mutex<ModelLog>,
    /// Numbers of the events that were published and not rolled back, with their ids.
    alive: Vec<(u64, EntryId)>,
    published: u64,
    milliseconds: u64,
    link: bool,
    /// A live event has come through, so that the node knows that there are such.
    shown_live: bool,
    clients: Vec<Client>,
}

impl World {
    fn new() -> Self {
        let settings = HubSettings {
            ring_events: 5,
            ring_bytes: 1 << 20,
            ring_bytes_in_all: 1 << 30,
            rates: Rates::default(),
            event_bytes: 64,
            linger: Duration::from_secs(30),
            workspaces: 100,
        };
        let hub =
            Hub::new(NodeId::random(), settings, Arc::new(Interest::default()), Arc::new(Metrics::new()));
        let clients = (0..3)
            .map(|_| Client {
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
            Step::Publish { announced } => {
                let (id, previous, payload) = self.append();
                if announced && self.link {
                    self.hub.message(&workspace(), envelope::encode(id, previous, payload.as_bytes(), None));
                }
            }
            Step::PublishPlainly => {
                self.append();
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
                self.alive.retain(|(_, id)| *id <= head);
                // The clock of the new server may be behind, but it never gives out an id below its own log's end.
                self.milliseconds = head.milliseconds;
            }
            Step::Interrupt => self.interrupt(),
            Step::Confirm => self.confirm(),
            Step::AnswerRead => self.answer_read(),
            Step::Poll { client, count } => self.poll(client, count),
            Step::Reconnect { client } => self.reconnect(client),
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
        self.run(&Step::Publish { announced: true });
        for _ in 0..200 {
            self.answer_read();
            for client in 0..3 {
                self.poll(client, 100);
            }
        }
    }

    fn append(&mut self) -> (EntryId, EntryId, String) {
        self.published += 1;
        self.milliseconds += 1;
        // Ids of events that were rolled back are not given out again: their sequence part differs.
        let id = EntryId { milliseconds: self.milliseconds, sequence: self.published };
        let payload = self.published.to_string();
        let previous = self.log.lock().append(id, &payload);
        self.alive.push((self.published, id));
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
        client.subscriber = Some(self.hub.join(&workspace(), start, View::default()).unwrap());
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
            let lost: Vec<_> =
                self.alive.iter().filter(|(number, _)| !client.known.contains(number)).collect();
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
    fn begin_anew(&mut self, alive: &[(u64, EntryId)]) {
        self.joined = true;
        self.known.extend(alive.iter().map(|(number, _)| number));
        self.greatest = 0;
        self.owed.clear();
    }

    fn take(&mut self, frame: &Bytes, alive: &[(u64, EntryId)]) {
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
        }
        self.last_event_id = field("id: ").or(self.last_event_id.take());
    }
}

fn workspace() -> WorkspaceId {
    WorkspaceId::parse("acme").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_in_silence(steps in proptest::collection::vec(step(), 0..60)) {
        check(&steps);
    }

    #[test]
    fn nothing_is_lost_in_silence_where_servers_fail_over(
        steps in proptest::collection::vec(step_of_failovers(), 0..60),
    ) {
        check(&steps);
    }
}

fn check(steps: &[Step]) {
    let mut world = World::new();
    for step in steps {
        world.run(step);
    }
    world.settle();
    world.check();
}
