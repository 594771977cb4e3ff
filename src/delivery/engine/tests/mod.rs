//! A shard with real sockets, on the thread of the test: it works only when the test lets it.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::Events;
use socket2::SockRef;

use super::shard::Shard;
use super::{Engine, EngineSettings, Granted, Handed, LogBounds};
use crate::auth::{Identity, UserId};
use crate::bus::{Feed as _, Interest, LogPage};
use crate::delivery::{Drain, StreamSettings, Terms};
use crate::event::control::ReconnectReason;
use crate::event::{Audience, EntryId, NodeId, envelope};
use crate::hub::{Hub, HubSettings, Resume, Start, View};
use crate::limits::{Candidate, OpenStreams, StreamHandle, StreamLimits};
use crate::metrics::Metrics;
use crate::rate::Rates;
use crate::workspace::WorkspaceId;

mod ending;
mod fairness;
mod following;
mod slow;

const DEADLINE: Duration = Duration::from_secs(20);

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// How a scene differs from the usual one.
struct Setting {
    ring_events: usize,
    heartbeat: Duration,
    confirm: Duration,
    write_timeout: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self { ring_events: 1000, heartbeat: hour, confirm: hour, write_timeout: hour }
    }
}

/// A hub, and one shard that writes what is in it.
struct Scene {
    hub: Hub,
    engine: Engine,
    shard: Shard,
    events: Events,
    streams: Arc<StreamSettings>,
    open: Arc<OpenStreams>,
    listener: TcpListener,
    logged: HashMap<String, EntryId>,
}

/// How a client comes.
#[derive(Default)]
struct Coming {
    view: View,
    after: Option<String>,
    /// The kernel's buffers on both ends, where they are to be small.
    buffer: Option<usize>,
    until: Option<(Instant, ReconnectReason)>,
}

/// A client's end.
struct Client {
    socket: TcpStream,
    stream: StreamHandle,
    raw: Vec<u8>,
    closed: bool,
}

impl Scene {
    fn new(setting: &Setting) -> Self {
        let metrics = Arc::new(Metrics::new());
        let node = NodeId::random();
        let hub_settings = HubSettings {
            ring_events: setting.ring_events,
            ring_bytes: 1 << 23,
            ring_bytes_in_all: 1 << 30,
            rates: Rates::default(),
            event_bytes: 1 << 20,
            linger: Duration::from_secs(30),
            workspaces: 1000,
        };
        let hub = Hub::new(node, hub_settings, Arc::new(Interest::default()), Arc::clone(&metrics));
        let streams = Arc::new(StreamSettings {
            heartbeat: setting.heartbeat,
            retry: Duration::from_secs(2),
            confirm: setting.confirm,
            age: None,
            drain: Drain::new(Duration::from_millis(10)),
            metrics,
        });
        let settings = EngineSettings {
            streams: Arc::clone(&streams),
            write_timeout: setting.write_timeout,
            bounds: LogBounds { frames: setting.ring_events, bytes: 1 << 23 },
        };
        let (engine, mut shards) = Engine::new(1, &settings).unwrap();
        Self {
            hub,
            engine,
            shard: shards.pop().unwrap(),
            events: Events::with_capacity(64),
            streams,
            open: Arc::new(OpenStreams::new(node, StreamLimits::default())),
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            logged: HashMap::new(),
        }
    }

    fn metrics(&self) -> &Metrics {
        &self.streams.metrics
    }

    /// A client whose workspace may not be confirmed yet.
    fn arrive(&mut self, workspace: &str, coming: Coming) -> Client {
        let socket = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (served, address) = self.listener.accept().unwrap();
        if let Some(bytes) = coming.buffer {
            SockRef::from(&served).set_send_buffer_size(bytes).unwrap();
            SockRef::from(&socket).set_recv_buffer_size(bytes).unwrap();
        }
        served.set_nonblocking(true).unwrap();
        served.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        let id = WorkspaceId::parse(workspace).unwrap();
        let start = coming.after.as_deref().map_or(Start::Head, |text| Start::After(Resume::new(text)));
        let address: SocketAddr = address;
        let candidate = Candidate { workspace: id.clone(), identity: Identity::default(), address: IpAddr::from([127, 0, 0, 1]) };
        let lease = self.open.admit(candidate).unwrap();
        let stream = lease.handle();
        let subscriber = self.hub.join(&id, start, coming.view).unwrap();
        let granted = Granted::new(subscriber, Terms { lease, until: coming.until }, address);
        self.engine.open(Handed { granted, socket: served, head: HEAD.into(), kept: Box::new(()) });
        Client { socket, stream, raw: Vec::new(), closed: false }
    }

    /// A client that has had its hello.
    fn join(&mut self, workspace: &str, coming: Coming) -> Client {
        let mut client = self.arrive(workspace, coming);
        self.confirm(workspace);
        self.until("the hello", |_| client.body().contains("connected"));
        client
    }

    fn confirm(&self, workspace: &str) {
        self.hub.confirmed(&WorkspaceId::parse(workspace).unwrap());
        while let Some(read) = self.hub.reads().take() {
            let page = LogPage { entries: Vec::new(), proven: true, more: false, head: EntryId::ZERO };
            self.hub.answer(&read, Ok(page));
        }
    }

    fn publish(&self, workspace: &str, payload: &str) {
        self.hub.message(&WorkspaceId::parse(workspace).unwrap(), Bytes::from(payload.to_owned()));
    }

    /// Publishes a logged event, for users alone if any are named.
    fn log(&mut self, workspace: &str, payload: &str, users: &[&str]) -> String {
        let last = self.logged.entry(workspace.to_owned()).or_insert(EntryId::ZERO);
        let previous = *last;
        last.milliseconds += 1;
        let audience = (!users.is_empty()).then(|| Audience::new(users).unwrap());
        let message = envelope::encode(*last, previous, payload.as_bytes(), audience.as_ref());
        let id = last.to_string();
        self.hub.message(&WorkspaceId::parse(workspace).unwrap(), message);
        id
    }

    /// Lets the shard do something, or wait for a moment.
    fn step(&mut self) {
        self.shard.step(&mut self.events, Duration::from_millis(5)).unwrap();
    }

    /// Lets the shard work until something is so.
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

impl Client {
    /// Takes what has come.
    fn read(&mut self) {
        let mut buffer = [0; 65_536];
        while !self.closed {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(count) => self.raw.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.closed = true,
            }
        }
    }

    /// The body so far, without the frame that is still coming.
    fn body(&mut self) -> String {
        self.read();
        decode(&self.raw).0
    }

    /// Whether the body came to its proper end, and the connection with it.
    fn has_ended(&mut self) -> bool {
        self.read();
        self.closed && decode(&self.raw).1
    }

    /// The data of the application's events so far.
    fn data(&mut self) -> Vec<String> {
        let body = self.body();
        let frames = body.split("\n\n").filter(|frame| !frame.contains("event: tidings.") && !frame.contains(r#""connected""#));
        frames.filter_map(|frame| frame.lines().find_map(|line| line.strip_prefix("data: "))).map(str::to_owned).collect()
    }
}

/// The whole chunks of an answer, put together, and whether the last one has come.
fn decode(raw: &[u8]) -> (String, bool) {
    let Some(mut rest) = raw.strip_prefix(HEAD.as_bytes()) else {
        assert!(HEAD.as_bytes().starts_with(raw), "the head comes first, and whole");
        return (String::new(), false);
    };
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let Some(chunk) = rest.get(end + 2..end + 4 + length) else { break };
        assert!(chunk.ends_with(b"\r\n"), "a chunk is as long as it says");
        if length == 0 {
            assert_eq!(rest.len(), end + 4, "nothing follows the last chunk");
            return (String::from_utf8(body).unwrap(), true);
        }
        body.extend_from_slice(&chunk[..length]);
        rest = &rest[end + 4 + length..];
    }
    (String::from_utf8(body).unwrap(), false)
}

fn user(name: &str) -> View {
    View { user: Some(UserId::parse(name).unwrap()), ..View::default() }
}
