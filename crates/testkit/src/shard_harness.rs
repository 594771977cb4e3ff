//! A hub and one shard of the engine on the thread of the caller. The shard works only when it is
//! stepped. So the cost of an event can be counted exactly, and measured without waking threads.
//! The budgets and the benches share it.

use std::io::{ErrorKind, Read as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use mio::Events;
use tidings_delivery::engine::{
    BroadcastBounds, ConnectionGuards, Engine, EngineSettings, Handoff, PendingStream, Shard,
};
use tidings_delivery::{CloseReason, Drain, Recipient, StreamSettings, Terms, Until, WallClock};
use tidings_event::log::LogPage;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Audience, EntryId, NodeId, envelope};
use tidings_event::{BusHandler as _, DesiredSubscriptions};
use tidings_event::{Identity, TokenId, UserId};
use tidings_hub::rate::Rates;
use tidings_hub::{Hub, HubSettings, LiveEvents, Start, Subscriber, SubscriptionFilter};
use tidings_limits::{Candidate, StreamLimits, StreamRegistry};
use tidings_metrics::Metrics;

use crate::DEADLINE;

/// No heartbeat and no other moment comes while something is measured.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Frames that a ring and a log hold.
pub const RING_EVENTS: usize = 100;

/// A hub, and one shard that writes what is in it to real sockets.
pub struct ShardHarness {
    hub: Hub,
    /// The settings of all streams, with the counters.
    pub streams: Arc<StreamSettings>,
    engine: Engine,
    shard: Shard,
    events: Events,
    open: Arc<StreamRegistry>,
    listener: TcpListener,
    readers: Vec<TcpStream>,
}

impl ShardHarness {
    /// Makes a hub without workspaces and a shard without clients.
    #[expect(clippy::new_without_default, reason = "it opens sockets")]
    pub fn new() -> Self {
        let metrics = Arc::new(Metrics::new());
        let node = NodeId::random();
        let bounds = BroadcastBounds { frames: RING_EVENTS, bytes: 1 << 20 };
        let settings = HubSettings {
            ring_events: bounds.frames,
            ring_bytes: bounds.bytes,
            ring_bytes_in_all: 1 << 30,
            replay_bytes: 1 << 30,
            rates: Rates::default(),
            event_bytes: 1 << 16,
            linger: NEVER,
            workspaces: 10_000,
            live: LiveEvents::Auto,
            retention: Duration::MAX,
            traces_in_streams: false,
        };
        let hub = Hub::new(node, settings, Arc::new(DesiredSubscriptions::default()), Arc::clone(&metrics));
        let streams = Arc::new(StreamSettings {
            heartbeat: NEVER,
            retry: NEVER,
            confirm: NEVER,
            age: None,
            drain: Drain::default(),
            schemas: None,
            clock: WallClock::default(),
            metrics,
            bodies: Arc::default(),
        });
        let settings = EngineSettings {
            streams: Arc::clone(&streams),
            write_timeout: NEVER,
            bounds,
            unsent_bytes: 1 << 27,
        };
        let (engine, mut shards) = Engine::new(1, &settings).unwrap();
        Self {
            hub,
            streams,
            engine,
            shard: shards.pop().unwrap(),
            events: Events::with_capacity(1024),
            open: Arc::new(StreamRegistry::new(node, StreamLimits::default())),
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            readers: Vec::new(),
        }
    }

    /// Registers a stream and joins the workspace. If the view is that of a user, the terms are
    /// those of a token.
    pub fn admit(&self, workspace: &WorkspaceId, view: SubscriptionFilter) -> (Subscriber, Terms) {
        let identity = match view.user {
            None => Identity::default(),
            Some(_) => Identity {
                user: Some(UserId::parse("user").unwrap()),
                token: Some(TokenId::parse("token").unwrap()),
                expires: Some(SystemTime::now() + NEVER),
            },
        };
        let until = Until { expires: identity.expires, aged: None };
        let stream_guard = self.open.register(Candidate { workspace: workspace.clone(), identity }).unwrap();
        let subscriber = self.hub.join(workspace, Start::Head, view).unwrap();
        (subscriber, Terms { stream_guard, place: None, until })
    }

    /// Opens a stream over a socket, which the shard writes to.
    pub fn join(&mut self, workspace: &WorkspaceId, view: SubscriptionFilter) {
        let reader = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (socket, address) = self.listener.accept().unwrap();
        reader.set_nonblocking(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        let (subscriber, terms) = self.admit(workspace, view);
        let recipient =
            Recipient { address, client: address.ip(), user: None, abort: CloseReason::default() };
        let pending_stream = PendingStream::new(subscriber, terms, &recipient);
        self.engine.open(Handoff {
            pending_stream,
            socket,
            head: b"head\r\n\r\n".to_vec(),
            connection_guards: ConnectionGuards::default(),
        });
        self.readers.push(reader);
    }

    /// Confirms a workspace, whose log is empty, as the bus does.
    pub fn confirm(&self, workspace: &WorkspaceId) {
        self.hub.confirmed(workspace);
        while let Some(read) = self.hub.read_queue().take() {
            let page = LogPage { proven: true, ..LogPage::default() };
            self.hub.answer(&read, Ok(page));
        }
    }

    /// Steps the shard until every client has its `connected` event.
    pub fn greet(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        let mut buffer = vec![0; 4096];
        for place in 0..self.readers.len() {
            let mut come = Vec::new();
            while !String::from_utf8_lossy(&come).contains("connected") {
                assert!(Instant::now() < deadline, "no connected event");
                self.step();
                match self.readers[place].read(&mut buffer) {
                    Ok(count) => come.extend_from_slice(&buffer[..count]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        }
    }

    /// Steps the shard once, without waiting.
    pub fn step(&mut self) {
        self.shard.step(&mut self.events, Duration::ZERO).unwrap();
    }

    /// Passes messages of the workspace's channel to the hub.
    pub fn publish(&self, workspace: &WorkspaceId, messages: impl IntoIterator<Item = Bytes>) {
        messages.into_iter().for_each(|message| self.hub.message(workspace, message));
    }

    /// Steps the shard until clients have so many more events, all clients together.
    pub fn deliver(&mut self, deliveries: u64) {
        let (wanted, deadline) = (self.deliveries() + deliveries, Instant::now() + DEADLINE);
        while self.deliveries() < wanted {
            assert!(Instant::now() < deadline, "{} of {wanted} deliveries", self.deliveries());
            self.step();
        }
        self.step();
    }

    fn deliveries(&self) -> u64 {
        self.streams.metrics.deliveries.get()
    }

    /// Takes the bytes out of the clients' sockets, so that these are never full.
    pub fn drain(&mut self) {
        let mut buffer = [0; 16 * 1024];
        for reader in &mut self.readers {
            while reader.read(&mut buffer).is_ok_and(|count| count == buffer.len()) {}
        }
    }
}

/// The messages of a workspace's channel, each logged after the one before it.
#[derive(Debug, Default)]
pub struct Publisher {
    last: EntryId,
}

impl Publisher {
    /// The next message as the publish script sends it, for users alone if any are named.
    pub fn logged(&mut self, payload: &str, users: &[&str]) -> Bytes {
        let previous = self.last;
        self.last.milliseconds += 1;
        let audience = (!users.is_empty()).then(|| Audience::new(users).unwrap());
        envelope::encode(self.last, previous, payload.as_bytes(), audience.as_ref())
    }
}

impl std::fmt::Debug for ShardHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardHarness").field("clients", &self.readers.len()).finish_non_exhaustive()
    }
}
