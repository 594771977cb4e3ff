//! A shard with real sockets, which runs step by step on the thread of the test.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::Events;
use socket2::SockRef;

use super::shard::Shard;
use super::{BroadcastBounds, ConnectionGuards, Engine, EngineSettings, Handoff, PendingStream};
use crate::{CloseReason, Drain, Recipient, StreamSettings, Terms, Until, WallClock};
use tidings_event::control::ReconnectReason;
use tidings_event::log::LogPage;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Audience, EntryId, NodeId, TraceParent, envelope};
use tidings_event::{BusHandler as _, DesiredSubscriptions};
use tidings_event::{Identity, UserId};
use tidings_hub::rate::Rates;
use tidings_hub::{Hub, HubSettings, LiveEvents, Resume, Start, SubscriptionFilter, WatchList};
use tidings_limits::{Candidate, StreamHandle, StreamLimits, StreamRegistry};
use tidings_metrics::Metrics;

mod ending;
mod fairness;
mod following;
mod slow;
mod watching;

const DEADLINE: Duration = Duration::from_secs(40);

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// The differences of a scene from the usual one.
struct Setting {
    ring_events: usize,
    heartbeat: Duration,
    confirm: Duration,
    write_timeout: Duration,
    unsent_bytes: usize,
    clock: WallClock,
}

impl Default for Setting {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            ring_events: 1000,
            heartbeat: hour,
            confirm: hour,
            write_timeout: hour,
            unsent_bytes: 1 << 30,
            clock: WallClock::default(),
        }
    }
}

/// A hub, and a shard that writes its streams.
struct Scene {
    hub: Hub,
    watch_list: Arc<WatchList>,
    engine: Engine,
    shard: Shard,
    events: Events,
    streams: Arc<StreamSettings>,
    open: Arc<StreamRegistry>,
    listener: TcpListener,
    logged: HashMap<String, EntryId>,
}

#[test]
fn ping_reports_a_shard_until_it_runs_again() {
    let mut scene = Scene::new(&Setting::default());
    assert_eq!(scene.engine.ping(), 0, "no ping came before");
    assert_eq!(scene.engine.ping(), 1);
    assert_eq!(scene.engine.ping(), 1, "no second ping is on its way");
    scene.shard.step(&mut scene.events, Duration::ZERO).unwrap();
    assert_eq!(scene.engine.ping(), 0);
}

/// The options of a new client.
#[derive(Default)]
struct ClientOptions {
    filter: SubscriptionFilter,
    after: Option<String>,
    /// The sizes of the kernel's buffers on both ends, if they have to be small.
    buffer: Option<usize>,
    until: Until,
}

/// The client side of a connection.
struct EngineClient {
    socket: TcpStream,
    stream: StreamHandle,
    response: ParsedResponse,
    closed: bool,
}

/// The parsed part of a response.
#[derive(Default)]
struct ParsedResponse {
    /// Bytes that are not parsed yet.
    raw: Vec<u8>,
    /// Whether the head is complete.
    has_head: bool,
    /// The contents of the complete chunks.
    body: String,
    /// The body up to here is split into frames.
    taken: usize,
    /// The data of the application's events.
    data: Vec<String>,
    /// Whether the last chunk is complete.
    ended: bool,
}

impl Scene {
    fn new(setting: &Setting) -> Self {
        let metrics = Arc::new(Metrics::new());
        let node = NodeId::random();
        let hub_settings = HubSettings {
            ring_events: setting.ring_events,
            ring_bytes: 1 << 23,
            ring_bytes_in_all: 1 << 30,
            replay_bytes: 1 << 30,
            rates: Rates::default(),
            event_bytes: 1 << 20,
            linger: Duration::from_secs(30),
            workspaces: 1000,
            live: LiveEvents::Auto,
            retention: Duration::MAX,
            traces_in_streams: false,
        };
        let watch_list = Arc::new(WatchList::new(0.0, Arc::clone(&metrics)));
        let hub =
            Hub::new(node, hub_settings, Arc::new(DesiredSubscriptions::default()), Arc::clone(&metrics))
                .watched_by(Some(Arc::clone(&watch_list)));
        let streams = Arc::new(StreamSettings {
            heartbeat: setting.heartbeat,
            retry: Duration::from_secs(2),
            confirm: setting.confirm,
            age: None,
            drain: Drain::default(),
            schemas: None,
            clock: setting.clock.clone(),
            metrics,
            bodies: Arc::default(),
        });
        let settings = EngineSettings {
            streams: Arc::clone(&streams),
            write_timeout: setting.write_timeout,
            bounds: BroadcastBounds { frames: setting.ring_events, bytes: 1 << 23 },
            unsent_bytes: setting.unsent_bytes,
        };
        let (engine, mut shards) = Engine::new(1, &settings).unwrap();
        Self {
            hub,
            watch_list,
            engine,
            shard: shards.pop().unwrap(),
            events: Events::with_capacity(64),
            streams,
            open: Arc::new(StreamRegistry::new(node, StreamLimits::default())),
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            logged: HashMap::new(),
        }
    }

    fn metrics(&self) -> &Metrics {
        &self.streams.metrics
    }

    /// A client whose workspace may not be confirmed yet.
    fn connect(&mut self, workspace: &str, options: ClientOptions) -> EngineClient {
        let socket = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (served, address) = self.listener.accept().unwrap();
        if let Some(bytes) = options.buffer {
            SockRef::from(&served).set_send_buffer_size(bytes).unwrap();
            SockRef::from(&socket).set_recv_buffer_size(bytes).unwrap();
        }
        served.set_nonblocking(true).unwrap();
        served.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        let id = WorkspaceId::parse(workspace).unwrap();
        let start = options.after.as_deref().map_or(Start::Head, |text| Start::After(Resume::new(text)));
        let candidate = Candidate { workspace: id.clone(), identity: Identity::default() };
        let stream_guard = self.open.register(candidate).unwrap();
        let stream = stream_guard.handle();
        let subscriber = self.hub.join(&id, start, options.filter).unwrap();
        let terms = Terms { stream_guard, place: None, until: options.until };
        let recipient =
            Recipient { address, client: address.ip(), user: None, abort: CloseReason::default() };
        let pending_stream = PendingStream::new(subscriber, terms, &recipient);
        self.engine.open(Handoff {
            pending_stream,
            socket: served,
            head: HEAD.into(),
            connection_guards: ConnectionGuards::default(),
        });
        EngineClient { socket, stream, response: ParsedResponse::default(), closed: false }
    }

    /// A client that got its `connected` event.
    fn join(&mut self, workspace: &str, options: ClientOptions) -> EngineClient {
        let mut client = self.connect(workspace, options);
        self.confirm(workspace);
        self.until("connected", |_| client.body().contains("connected"));
        client
    }

    fn confirm(&self, workspace: &str) {
        self.hub.confirmed(&WorkspaceId::parse(workspace).unwrap());
        while let Some(read) = self.hub.read_queue().take() {
            let page = LogPage { proven: true, ..LogPage::default() };
            self.hub.answer(&read, Ok(page));
        }
    }

    fn publish(&self, workspace: &str, payload: &str) {
        self.hub.message(&WorkspaceId::parse(workspace).unwrap(), Bytes::from(payload.to_owned()));
    }

    /// Publishes a logged event, for some users only if `users` has any.
    fn log(&mut self, workspace: &str, payload: &str, users: &[&str]) -> String {
        self.log_traced(workspace, payload, users, None)
    }

    /// The same, with a trace.
    fn log_traced(
        &mut self,
        workspace: &str,
        payload: &str,
        users: &[&str],
        trace: Option<TraceParent>,
    ) -> String {
        let last = self.logged.entry(workspace.to_owned()).or_insert(EntryId::ZERO);
        let previous = *last;
        last.milliseconds += 1;
        let audience = (!users.is_empty()).then(|| Audience::new(users).unwrap());
        let message = envelope::encode_traced(*last, previous, payload.as_bytes(), audience.as_ref(), trace);
        let id = last.to_string();
        self.hub.message(&WorkspaceId::parse(workspace).unwrap(), message);
        id
    }

    /// Runs one step of the shard, which may wait for a moment.
    fn step(&mut self) {
        self.shard.step(&mut self.events, Duration::from_millis(5)).unwrap();
    }

    /// Runs the shard until a condition holds.
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{what}");
            self.step();
        }
    }

    fn streams_open(&self) -> i64 {
        self.metrics().handed_off.get()
    }
}

impl EngineClient {
    /// Reads the available bytes.
    fn read(&mut self) -> &ParsedResponse {
        self.read_some(usize::MAX)
    }

    /// Reads about so many of the available bytes.
    fn read_some(&mut self, most: usize) -> &ParsedResponse {
        let mut buffer = vec![0; most.min(1 << 18)];
        let mut left = most;
        while !self.closed && left > 0 {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    self.response.raw.extend_from_slice(&buffer[..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.closed = true,
            }
        }
        self.response.take();
        &self.response
    }

    fn body(&mut self) -> &str {
        &self.read().body
    }

    /// Whether the body ended with its last chunk, and the connection with it.
    fn has_ended(&mut self) -> bool {
        self.read();
        self.closed && self.response.ended
    }

    /// The data of the application's events so far.
    fn data(&mut self) -> &[String] {
        &self.read().data
    }

    fn last(&mut self) -> &str {
        self.data().last().map_or("", String::as_str)
    }
}

impl ParsedResponse {
    /// Parses the complete parts.
    fn take(&mut self) {
        if !self.has_head && self.raw.len() >= HEAD.len() {
            assert!(self.raw.starts_with(HEAD.as_bytes()), "the head comes first, and whole");
            self.raw.drain(..HEAD.len());
            self.has_head = true;
        }
        if !self.has_head {
            return;
        }
        let mut at = 0;
        while let Some(end) = self.raw[at..].iter().take(20).position(|&byte| byte == b'\r') {
            let length =
                usize::from_str_radix(std::str::from_utf8(&self.raw[at..at + end]).unwrap(), 16).unwrap();
            let begin = at + end + 2;
            let Some(chunk) = self.raw.get(begin..begin + length + 2) else { break };
            assert!(chunk.ends_with(b"\r\n"), "a chunk is as long as it says");
            assert!(!self.ended, "nothing follows the last chunk");
            self.ended = length == 0;
            self.body.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
            at = begin + length + 2;
        }
        self.raw.drain(..at);
        while let Some(end) = self.body[self.taken..].find("\n\n") {
            let frame = &self.body[self.taken..self.taken + end];
            self.taken += end + 2;
            assert!(frame.lines().any(|line| line.starts_with("data: ")), "a block without data: {frame:?}");
            if frame.contains("event: tidings.") || frame.contains(r#""connected""#) {
                continue;
            }
            self.data.extend(frame.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned));
        }
    }
}

fn user(name: &str) -> SubscriptionFilter {
    SubscriptionFilter { user: Some(UserId::parse(name).unwrap().key()), ..SubscriptionFilter::default() }
}
