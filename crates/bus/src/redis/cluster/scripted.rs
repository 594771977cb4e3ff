//! Test: servers of a cluster that reply as a test says, and a handler that records its calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use redis::{Value, ValueCodec};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, broadcast};
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
    /// It sends `push` over each connection with a subscription, then `reply` over its own one.
    Publish { push: String, reply: String },
    /// It sends this later. Until then it reads no further command of the connection.
    SendAfter(Arc<Notify>, String),
    /// It reads the command and closes the connection.
    Close,
}

/// A server on a port of its own. It ends with the value.
pub(super) struct ScriptedServer {
    pub(super) port: u16,
    shared: Arc<ScriptedShared>,
    _task: AbortOnDropHandle<()>,
}

struct ScriptedShared {
    script: Mutex<Box<Script>>,
    received: Mutex<Vec<String>>,
    connections: AtomicUsize,
    pushes: broadcast::Sender<String>,
}

type Script = dyn FnMut(&str) -> ScriptedReply + Send;

impl ScriptedServer {
    /// Starts a server. `script` gets each command after the login as words with blanks between.
    pub(super) async fn start(mut script: impl FnMut(&str) -> ScriptedReply + Send + 'static) -> Self {
        Self::start_with_login(move |command| {
            login(command, "master").map_or_else(|| script(command), ScriptedReply::Send)
        })
        .await
    }

    /// Starts a server whose script gets the commands of the login too.
    pub(super) async fn start_with_login(script: impl FnMut(&str) -> ScriptedReply + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(ScriptedShared {
            script: Mutex::new(Box::new(script)),
            received: Mutex::default(),
            connections: AtomicUsize::default(),
            pushes: broadcast::Sender::new(10_000),
        });
        let of_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut served = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                of_task.connections.fetch_add(1, Ordering::Relaxed);
                served.spawn(serve(socket, Arc::clone(&of_task)));
            }
        });
        Self { port, shared, _task: AbortOnDropHandle::new(task) }
    }

    /// Starts a primary with these slots, beside one without any. `script` gets each command but
    /// those for the topology; for `None` the server does what a primary does.
    pub(super) async fn start_primary(
        slots: Arc<Mutex<String>>,
        mut script: impl FnMut(&str) -> Option<ScriptedReply> + Send + 'static,
    ) -> Self {
        let port = Arc::<OnceLock<u16>>::default();
        let own = Arc::clone(&port);
        let server = Self::start_with_login(move |command| {
            if command == "CLUSTER NODES" {
                // No server listens at the second port.
                let nodes =
                    primary(1, *own.get().unwrap(), 1, &slots.lock(), true) + &primary(2, 1, 2, "", false);
                return ScriptedReply::Send(bulk(&nodes));
            }
            let usual = || login(command, "master").map_or_else(|| deliver(command), ScriptedReply::Send);
            script(command).unwrap_or_else(usual)
        })
        .await;
        port.set(server.port).unwrap();
        server
    }

    /// Sends a text over each connection with a subscription.
    pub(super) fn push(&self, text: &str) {
        self.shared.pushes.send(text.to_owned()).unwrap();
    }

    /// Returns the number of connections so far.
    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Returns the commands that the server has received, without those of the login.
    pub(super) fn received(&self) -> Vec<String> {
        self.shared.received.lock().clone()
    }

    /// Returns the number of such commands that begin with a text.
    pub(super) fn count(&self, start: &str) -> usize {
        self.shared.received.lock().iter().filter(|command| command.starts_with(start)).count()
    }
}

async fn serve(socket: TcpStream, shared: Arc<ScriptedShared>) {
    let (read, mut write) = socket.into_split();
    let mut commands = FramedRead::new(read, ValueCodec::default());
    let (mut pushes, mut is_subscribed) = (shared.pushes.subscribe(), false);
    loop {
        let text = tokio::select! {
            biased;
            push = pushes.recv() => if is_subscribed { push.unwrap() } else { String::new() },
            command = commands.next() => {
                let Some(Ok(command)) = command else { return };
                let words: Vec<String> = redis::from_redis_value(command).unwrap();
                is_subscribed |= words[0].ends_with("SUBSCRIBE");
                let text = words.join(" ");
                if login(&text, "").is_none() {
                    shared.received.lock().push(text.clone());
                }
                let reply = shared.script.lock()(&text);
                match reply {
                    ScriptedReply::Send(reply) => reply,
                    ScriptedReply::Publish { push, reply } => {
                        shared.pushes.send(push).unwrap();
                        reply
                    }
                    ScriptedReply::SendAfter(release, reply) => {
                        release.notified().await;
                        reply
                    }
                    ScriptedReply::Close => return,
                }
            }
        };
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Returns the reply to a command of the login, or to a check, by a server with this role.
pub(super) fn login(command: &str, role: &str) -> Option<String> {
    match command.split(' ').next()? {
        "HELLO" => Some(format!(
            "%4\r\n+server\r\n+redis\r\n+version\r\n+7.0.15\r\n+mode\r\n+cluster\r\n+role\r\n+{role}\r\n"
        )),
        "CLIENT" => Some("+OK\r\n".to_owned()),
        "INFO" => Some("-NOPERM no\r\n".to_owned()),
        _ => None,
    }
}

/// Returns a push message of a channel.
pub(super) fn push(kind: &str, channel: &str, last: &str) -> String {
    format!(">3\r\n{}{}{last}", bulk(kind), bulk(channel))
}

/// Returns the reply of a primary that confirms each subscription and delivers each message.
pub(super) fn deliver(command: &str) -> ScriptedReply {
    let words: Vec<_> = command.split(' ').collect();
    let confirmed =
        |kind| ScriptedReply::Send(words[1..].iter().map(|name| push(kind, name, ":1\r\n")).collect());
    match words[0] {
        "SUBSCRIBE" => confirmed("subscribe"),
        "SSUBSCRIBE" => confirmed("ssubscribe"),
        "SUNSUBSCRIBE" => confirmed("sunsubscribe"),
        "SPUBLISH" => ScriptedReply::Publish {
            push: push("smessage", words[1], &bulk(words[2])),
            reply: ":1\r\n".to_owned(),
        },
        "TIME" => ScriptedReply::Send("*2\r\n$1\r\n0\r\n$1\r\n0\r\n".to_owned()),
        _ => ScriptedReply::Send("+OK\r\n".to_owned()),
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
    settings_with(host, port, &[("probe_seconds", "0.01"), ("ping_timeout_seconds", &patience.to_string())])
}

/// The section `[redis]` of the defaults, with a server of the cluster and other values.
pub(super) fn settings_with(host: &str, port: u16, values: &[(&str, &str)]) -> RedisConfig {
    let defaults = include_str!("../../../../../config/default.toml");
    let file = config::File::from_str(defaults, config::FileFormat::Toml);
    let mut defaults = config::Config::builder()
        .add_source(file)
        .set_override("redis.cluster.nodes", vec![format!("redis://{host}:{port}")])
        .unwrap();
    for (key, value) in values {
        defaults = defaults.set_override(format!("redis.{key}"), *value).unwrap();
    }
    defaults.build().unwrap().get("redis").unwrap()
}

/// Waits until a condition is true.
pub(super) async fn eventually(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), wait).await.expect("the condition becomes true");
}

/// Records the calls of a bus.
#[derive(Default)]
pub(super) struct RecordedCalls(Mutex<Vec<String>>);

impl RecordedCalls {
    /// Waits for a call, and returns it with those before it.
    pub(super) async fn until(&self, call: &str) -> Vec<String> {
        eventually(|| self.0.lock().iter().any(|made| made == call)).await;
        self.take()
    }

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

    fn control_confirmed(&self) {
        self.add("control confirmed".to_owned());
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
