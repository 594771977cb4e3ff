//! Test: servers of a cluster that reply as a test says, and a handler that records its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use redis::{Value, ValueCodec};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::FramedRead;
use tokio_util::task::AbortOnDropHandle;

use super::super::channel::Channels;
use super::super::connect::Connector;
use super::control::ControlCopies;
use super::refresher::Refresher;
use super::servers::Servers;
use super::shard::{ClusterShared, Returned};
use super::topology::Topology;
use super::view::TopologyView;
use crate::settings::RedisConfig;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{BusHandler, NodeId};
use tidings_metrics::Metrics;

/// What a server does with a command.
pub(super) enum ScriptedReply {
    /// It sends this, in RESP.
    Send(String),
    /// It reads the command and closes the connection.
    Close,
}

/// A server on a port of its own. It ends with the value.
pub(super) struct ScriptedServer {
    pub(super) port: u16,
    received: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

type Script = dyn FnMut(&str) -> ScriptedReply + Send;

impl ScriptedServer {
    /// Starts a server. `script` gets each command after the login as words with blanks between.
    pub(super) async fn start(script: impl FnMut(&str) -> ScriptedReply + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let (shared, connections) = (Arc::clone(&received), Arc::<AtomicUsize>::default());
        let accepted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut served = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                served.spawn(serve(socket, Arc::clone(&script), Arc::clone(&shared)));
            }
        });
        Self { port, received, connections, _task: AbortOnDropHandle::new(task) }
    }

    /// Returns the number of connections so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns the commands that the server has received, without those of the login.
    pub(super) fn received(&self) -> Vec<String> {
        self.received.lock().clone()
    }
}

async fn serve(socket: TcpStream, script: Arc<Mutex<Box<Script>>>, received: Arc<Mutex<Vec<String>>>) {
    let (read, mut write) = socket.into_split();
    let mut commands = FramedRead::new(read, ValueCodec::default());
    while let Some(Ok(command)) = commands.next().await {
        let words: Vec<String> = redis::from_redis_value(command).unwrap();
        let reply = match words[0].as_str() {
            "HELLO" => ScriptedReply::Send(
                "%4\r\n+server\r\n+redis\r\n+version\r\n+7.0.15\r\n+mode\r\n+cluster\r\n+role\r\n+master\r\n"
                    .to_owned(),
            ),
            "CLIENT" => ScriptedReply::Send("+OK\r\n".to_owned()),
            "INFO" => ScriptedReply::Send("-NOPERM no\r\n".to_owned()),
            _ => {
                let text = words.join(" ");
                received.lock().push(text.clone());
                script.lock()(&text)
            }
        };
        match reply {
            ScriptedReply::Send(text) => {
                if write.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            ScriptedReply::Close => return,
        }
    }
}

/// Returns a text as a bulk string in RESP.
pub(super) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// Returns the line of `CLUSTER NODES` for a primary with all slots in a range.
pub(super) fn primary(number: u8, port: u16, epoch: u64, slots: &str, is_myself: bool) -> String {
    let flags = if is_myself { "myself,master" } else { "master" };
    format!("{number:040} 127.0.0.1:{port}@1 {flags} - 0 0 {epoch} connected {slots}\n")
}

/// Returns a topology with one primary for each range of slots, numbered from 1 in order.
pub(super) fn topology(epoch: u64, ranges: &[&str]) -> Arc<Topology> {
    let line = |(at, slots): (usize, &&str)| {
        let number = u8::try_from(at + 1).unwrap();
        // No server listens at these ports.
        primary(number, u16::from(number), epoch + u64::from(number), slots, at == 0)
    };
    let text: String = ranges.iter().enumerate().map(line).collect();
    Arc::new(Topology::join(&[TopologyView::parse(&text, "127.0.0.1").unwrap()], None))
}

/// The section `[redis]` of the defaults, with a server of the cluster, frequent probes, and a
/// patience in seconds for pings and probes.
pub(super) fn settings(port: u16, patience: f64) -> RedisConfig {
    settings_at("127.0.0.1", port, patience)
}

/// The same with another name for the host of the server.
pub(super) fn settings_at(host: &str, port: u16, patience: f64) -> RedisConfig {
    let defaults = include_str!("../../../../../config/default.toml");
    let file = config::File::from_str(defaults, config::FileFormat::Toml);
    let defaults = config::Config::builder()
        .add_source(file)
        .set_override("redis.cluster.nodes", vec![format!("redis://{host}:{port}")])
        .unwrap()
        .set_override("redis.probe_seconds", 0.01)
        .unwrap()
        .set_override("redis.ping_timeout_seconds", patience)
        .unwrap()
        .build()
        .unwrap();
    defaults.get("redis").unwrap()
}

/// Records the calls of a bus.
#[derive(Default)]
pub(super) struct RecordedCalls(Mutex<Vec<String>>);

impl RecordedCalls {
    /// Returns the calls since the last time.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }

    fn add(&self, call: String) {
        self.0.lock().push(call);
    }
}

impl BusHandler for RecordedCalls {
    fn confirmed(&self, workspace: &WorkspaceId) {
        self.add(format!("confirmed {workspace}"));
    }

    fn refused(&self, workspace: &WorkspaceId, _reason: &str) {
        self.add(format!("refused {workspace}"));
    }

    fn message(&self, workspace: &WorkspaceId, message: Bytes) {
        self.add(format!("message {workspace} {}", String::from_utf8_lossy(&message)));
    }

    fn control(&self, message: Bytes) {
        self.add(format!("control {}", String::from_utf8_lossy(&message)));
    }

    fn lost(&self, workspace: &WorkspaceId) {
        self.add(format!("lost {workspace}"));
    }

    fn interrupted(&self) {
        self.add("interrupted".to_owned());
    }
}

/// What the sessions of a bus share, with no server that responds.
pub(super) fn shared(handler: Arc<RecordedCalls>) -> Arc<ClusterShared> {
    shared_with(settings(1, 40.0), handler)
}

/// What the sessions of a bus with these settings share.
pub(super) fn shared_with(config: RedisConfig, handler: Arc<RecordedCalls>) -> Arc<ClusterShared> {
    let servers = Arc::new(Servers::new(Arc::new(Connector::new(&config).unwrap()), &config));
    Arc::new(ClusterShared {
        channels: Channels::new(&config.channel_prefix, &config.control_channel, NodeId::random()),
        refresher: Refresher::new(Arc::clone(&servers), &config).unwrap(),
        servers,
        config,
        handler,
        returned: Returned::default(),
        control: ControlCopies::default(),
        metrics: Arc::new(Metrics::default()),
    })
}

/// Returns a workspace id.
pub(super) fn workspace(id: &str) -> WorkspaceId {
    WorkspaceId::parse(id).unwrap()
}

/// Returns a text of a push message.
pub(super) fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}
