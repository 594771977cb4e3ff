//! Publishes numbered events to one workspace, one after the other, in every way there is, and
//! writes down what was acknowledged. Several publishers may share a workspace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, ServerErrorKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cluster_link;
use super::records::{Attempt, Kind, Outcome, Tag};
use crate::http::{self, Failure};

/// As a backend has it, from a file of the repository.
pub const SCRIPT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/publish.lua"));
/// Patience with one attempt.
const TIMEOUT: Duration = Duration::from_secs(6);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a publication with an idempotency key is tried.
const TRIES: usize = 8;
const TRY_PAUSE: Duration = Duration::from_millis(250);

/// The longest and the shortest time between two live events of a publisher that has few of them.
const SPARSE_MS: std::ops::Range<u64> = 500..3_000;

/// How an event is published durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `POST` to one of the brokers.
    Post,
    /// The same with an `Idempotency-Key`, repeated under the same number until a response arrives.
    PostOnce,
    /// `EVALSHA`, and `EVAL` where the server does not know the script.
    Script,
    /// `FCALL tidings_publish`.
    Function,
    /// `MULTI` · `XADD` · `PUBLISH` of an empty message · `EXEC`.
    Plain,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 5] = [Self::Post, Self::PostOnce, Self::Script, Self::Function, Self::Plain];
    /// Without those that may repeat a publication on a server that has forgotten the first one.
    pub const NEVER_TWICE: [Self; 4] = [Self::Post, Self::Script, Self::Function, Self::Plain];
}

/// Which events of a publisher are live ones: plain `PUBLISH`, in no log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveShare {
    None,
    /// One every 0.5 to 3 s.
    Sparse,
    /// About every second event.
    Dense,
}

/// How publishers work.
#[derive(Debug, Clone)]
pub struct Settings {
    pub ways: Vec<Way>,
    pub live: LiveShare,
    /// The pause between two events.
    pub pace: Duration,
    /// Bytes that each payload carries along.
    pub padding: usize,
    /// How many events a log keeps.
    pub retention: usize,
    /// How many seconds a log keeps an event, and an idle log itself; for scripts and functions,
    /// the broker has a setting.
    pub retention_seconds: u64,
    /// Whether nothing is published before the pace is set.
    pub waits: bool,
}

/// Where publishers publish to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub brokers: Vec<SocketAddr>,
    /// The URL of the server, which may change in a failover.
    pub redis: Arc<Mutex<String>>,
    /// The URLs of the servers, if they are a cluster.
    pub cluster: Option<Arc<Vec<String>>>,
}

/// A publisher.
#[derive(Debug)]
pub struct Publisher {
    workspace: String,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    pace: watch::Sender<Duration>,
    stop: watch::Sender<bool>,
    task: JoinHandle<FinalPublisher>,
}

impl Publisher {
    /// Begins to publish to a workspace as its publisher of this number.
    pub(super) fn start(
        workspace: &str,
        number: usize,
        target: Target,
        settings: Settings,
        opened: Instant,
    ) -> Self {
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = watch::channel(false);
        let (pace, paced) = watch::channel(settings.pace);
        let publisher = FinalPublisher {
            workspace: workspace.to_owned(),
            publisher: number,
            target,
            settings,
            opened,
            attempts: attempts.clone(),
            connection: None,
            number: 0,
            next_sparse: Instant::now(),
        };
        let task = tokio::spawn(publisher.run(stopped, paced));
        Self { workspace: workspace.to_owned(), attempts, pace, stop, task }
    }

    /// The workspace that the publisher publishes to.
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// The number of acknowledged events so far. A live event counts also without a subscriber.
    pub fn acknowledged(&self) -> usize {
        let is_answered =
            |attempt: &&Attempt| matches!(attempt.outcome, Outcome::Acknowledged(_) | Outcome::Heard(_));
        self.attempts.lock().iter().filter(is_answered).count()
    }

    /// The last durable event that was acknowledged so far.
    pub(super) fn last_acknowledged(&self) -> Option<Tag> {
        let is_acknowledged = |attempt: &&Attempt| matches!(attempt.outcome, Outcome::Acknowledged(_));
        self.attempts.lock().iter().rfind(is_acknowledged).map(|attempt| attempt.tag)
    }

    /// Changes the pause between two events.
    pub fn set_pace(&self, pace: Duration) {
        self.pace.send_replace(pace);
    }

    /// Publishes one event now where the pause is long, and keeps the pause.
    pub fn publish_one(&self) {
        self.pace.send_modify(|_| {});
    }

    /// Ends with the event under way, and returns a publisher for the last events.
    pub(super) async fn stop(self) -> FinalPublisher {
        self.stop.send_replace(true);
        self.task.await.expect("a publisher that does not fail")
    }
}

/// What publishes, one event at a time.
#[derive(Debug)]
pub(super) struct FinalPublisher {
    pub workspace: String,
    publisher: usize,
    target: Target,
    settings: Settings,
    opened: Instant,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    connection: Option<MultiplexedConnection>,
    number: u64,
    /// When the next live event is due, where there are few.
    next_sparse: Instant,
}

impl FinalPublisher {
    async fn run(mut self, mut stopped: watch::Receiver<bool>, mut paced: watch::Receiver<Duration>) -> Self {
        if self.settings.waits {
            tokio::select! {
                _ = stopped.changed() => {}
                _ = paced.changed() => {}
            }
        }
        while !*stopped.borrow_and_update() {
            let kind = self.next_kind();
            self.publish(kind).await;
            let pace = *paced.borrow_and_update();
            // A change of the pace, or the end, does not wait for the old one.
            tokio::select! {
                () = tokio::time::sleep(pace) => {}
                _ = stopped.changed() => {}
                _ = paced.changed() => {}
            }
        }
        self
    }

    fn next_kind(&mut self) -> Kind {
        match self.settings.live {
            LiveShare::Dense if fastrand::bool() => Kind::Live,
            LiveShare::Sparse if self.next_sparse <= Instant::now() => {
                self.next_sparse = Instant::now() + Duration::from_millis(fastrand::u64(SPARSE_MS));
                Kind::Live
            }
            LiveShare::None | LiveShare::Sparse | LiveShare::Dense => Kind::Durable,
        }
    }

    /// Publishes the next number, and returns its name if it was acknowledged.
    pub(super) async fn publish(&mut self, kind: Kind) -> Option<Tag> {
        self.number += 1;
        let tag = Tag { publisher: self.publisher, number: self.number };
        let way = self.settings.ways[fastrand::usize(..self.settings.ways.len())];
        let padding = "x".repeat(self.settings.padding);
        let payload = format!(
            r#"{{"type":"LEDGER","publisher":{},"number":{},"padding":"{padding}"}}"#,
            tag.publisher, tag.number
        );
        let began = self.opened.elapsed();
        let outcome = tokio::time::timeout(TIMEOUT * 4, async {
            match kind {
                Kind::Durable => self.publish_by(way, &payload).await,
                Kind::Live => self.publish_live(&payload).await,
            }
        });
        let outcome = outcome.await.unwrap_or(Outcome::Unknown);
        let ended = self.opened.elapsed();
        // In a cluster another server may be the owner now.
        if outcome == Outcome::Unknown || outcome == Outcome::Failed && self.target.cluster.is_some() {
            // A late reply on this connection must not count as the reply to another command.
            self.connection = None;
        }
        self.attempts.lock().push(Attempt { tag, kind, began, ended, outcome });
        matches!(outcome, Outcome::Acknowledged(_) | Outcome::Heard(1..)).then_some(tag)
    }

    /// All that was tried.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().clone()
    }

    async fn publish_by(&mut self, way: Way, payload: &str) -> Outcome {
        match way {
            Way::Post => self.post(payload, None).await,
            Way::PostOnce => self.post_once(payload).await,
            Way::Script | Way::Function | Way::Plain => {
                let Some(connection) = self.connection().await else { return Outcome::Failed };
                let answer = match way {
                    Way::Script => self.script(connection, payload).await,
                    Way::Function => self.function(connection, payload).await,
                    _ => self.plain(connection, payload).await,
                };
                outcome(answer, |id| Outcome::Acknowledged(id.parse().expect("an entry id")))
            }
        }
    }

    async fn publish_live(&mut self, payload: &str) -> Outcome {
        let Some(mut connection) = self.connection().await else { return Outcome::Failed };
        let mut publish = redis::cmd(self.announce());
        let answer = publish.arg(self.log()).arg(payload).query_async(&mut connection).await;
        outcome(answer, Outcome::Heard)
    }

    /// The connection to the server, made again if there is none; `None`: nothing was sent.
    async fn connection(&mut self) -> Option<MultiplexedConnection> {
        if self.connection.is_none() {
            self.connection = match &self.target.cluster {
                Some(servers) => cluster_link::find(servers, &self.log()).await,
                None => self.connect().await,
            };
        }
        self.connection.clone()
    }

    async fn post_once(&self, payload: &str) -> Outcome {
        let key = format!("{}-{}-{}", self.workspace, self.publisher, self.number);
        let mut outcome = Outcome::Failed;
        for _ in 0..TRIES {
            match self.post(payload, Some(&key)).await {
                Outcome::Acknowledged(id) => return Outcome::Acknowledged(id),
                Outcome::Unknown => outcome = Outcome::Unknown,
                Outcome::Failed | Outcome::Heard(_) => {}
            }
            tokio::time::sleep(TRY_PAUSE).await;
        }
        outcome
    }

    async fn post(&self, payload: &str, key: Option<&str>) -> Outcome {
        let address = self.target.brokers[fastrand::usize(..self.target.brokers.len())];
        let target = format!("/api/workspaces/{}/events", self.workspace);
        let headers: Vec<_> = key.iter().map(|key| ("Idempotency-Key", *key)).collect();
        let request = http::try_request(address, "POST", &target, &headers, payload.to_owned());
        match tokio::time::timeout(TIMEOUT, request).await {
            Ok(Ok(response)) if response.status.is_success() => {
                let id = response.json()["id"].as_str().expect("the event's id").to_owned();
                Outcome::Acknowledged(id.parse().expect("an entry id"))
            }
            // The broker says itself that it does not know.
            Ok(Ok(response)) if response.status == 503 => Outcome::Unknown,
            Ok(Ok(_)) => Outcome::Failed,
            Ok(Err(error)) if is_refused_connection(&error) => Outcome::Failed,
            Ok(Err(_)) | Err(_) => Outcome::Unknown,
        }
    }

    async fn connect(&self) -> Option<MultiplexedConnection> {
        let client = Client::open(self.target.redis.lock().as_str()).expect("the server's address");
        let (config, within) = connection_config();
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        tokio::time::timeout(within, connecting).await.ok()?.ok()
    }

    async fn script(
        &self,
        mut connection: MultiplexedConnection,
        payload: &str,
    ) -> Result<String, RedisError> {
        let hash = redis::Script::new(SCRIPT);
        match self.run_command(&mut connection, &self.call("EVALSHA", hash.get_hash(), payload)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.run_command(&mut connection, &self.call("EVAL", SCRIPT, payload)).await
            }
            answer => answer,
        }
    }

    async fn function(
        &self,
        mut connection: MultiplexedConnection,
        payload: &str,
    ) -> Result<String, RedisError> {
        self.run_command(&mut connection, &self.call("FCALL", "tidings_publish", payload)).await
    }

    /// Runs a command, in a cluster at the server that has the key.
    async fn run_command(
        &self,
        connection: &mut MultiplexedConnection,
        command: &redis::Cmd,
    ) -> Result<String, RedisError> {
        if self.target.cluster.is_none() {
            return command.query_async(connection).await;
        }
        Ok(redis::from_redis_value(cluster_link::ask(connection, command).await?)?)
    }

    /// The command for messages that nodes receive.
    fn announce(&self) -> &'static str {
        if self.target.cluster.is_some() { "SPUBLISH" } else { "PUBLISH" }
    }

    async fn plain(
        &self,
        mut connection: MultiplexedConnection,
        payload: &str,
    ) -> Result<String, RedisError> {
        let log = self.log();
        let mut transaction = redis::pipe();
        transaction.atomic();
        transaction.cmd("XADD").arg(&log).arg("MAXLEN").arg("~").arg(self.settings.retention);
        transaction.arg("*").arg("data").arg(payload);
        transaction.cmd(self.announce()).arg(&log).arg("").ignore();
        let (id,): (String,) = transaction.query_async(&mut connection).await?;
        Ok(id)
    }

    fn call(&self, command: &str, script: &str, payload: &str) -> redis::Cmd {
        let mut call = redis::cmd(command);
        let log = self.log();
        match self.target.cluster {
            Some(_) => call.arg(script).arg(2).arg(&log).arg(format!("{{{log}}}/epoch")).arg(payload),
            None => call.arg(script).arg(1).arg(log).arg(payload),
        };
        call.arg(self.settings.retention).arg(self.settings.retention_seconds);
        call
    }

    fn log(&self) -> String {
        format!("workspace:{}", self.workspace)
    }
}

/// The bounds of a connection, and that of connecting.
pub(super) fn connection_config() -> (AsyncConnectionConfig, Duration) {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(TIMEOUT));
    (config, CONNECT_TIMEOUT)
}

fn outcome<T>(answer: Result<T, RedisError>, acknowledged: impl FnOnce(T) -> Outcome) -> Outcome {
    match answer {
        Ok(answer) => acknowledged(answer),
        Err(error) if is_answer(&error) => Outcome::Failed,
        Err(_) => Outcome::Unknown,
    }
}

/// Whether the server replied with an error: then nothing was published.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

fn is_refused_connection(error: &Failure) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}
