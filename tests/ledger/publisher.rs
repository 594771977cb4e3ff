//! Publishes numbered events to one workspace, one after the other, in every way there is, and writes down what was
//! acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, ServerErrorKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::book::{Attempt, Outcome};
use super::support::http::{self, Failure};

/// As a backend has it, from a file of the repository.
const SCRIPT: &str = include_str!("../../scripts/publish.lua");
/// Patience with one attempt.
const TIMEOUT: Duration = Duration::from_secs(6);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a publication with an idempotency key is tried.
const TRIES: usize = 8;
const TRY_PAUSE: Duration = Duration::from_millis(250);

/// How an event is published durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `POST` to one of the brokers.
    Post,
    /// The same with an `Idempotency-Key`, repeated under the same number until it is answered.
    PostOnce,
    /// `EVALSHA`, and `EVAL` where the server does not know the script.
    Script,
    /// `FCALL tidings_publish`.
    Function,
    /// `MULTI` · `XADD` · `PUBLISH` of an empty message · `EXEC`.
    Plain,
}

impl Way {
    pub const ALL: [Self; 5] = [Self::Post, Self::PostOnce, Self::Script, Self::Function, Self::Plain];
    /// Without those that may repeat a publication on a server that has forgotten the first one.
    pub const NEVER_TWICE: [Self; 4] = [Self::Post, Self::Script, Self::Function, Self::Plain];
}

/// How publishers work.
#[derive(Debug, Clone)]
pub struct Settings {
    pub ways: Vec<Way>,
    /// The pause between two events.
    pub pace: Duration,
    /// Bytes that each payload carries along.
    pub padding: usize,
    /// How many events a log keeps.
    pub retention: usize,
    /// Whether nothing is published before the pace is set.
    pub waits: bool,
}

/// Where publishers publish to.
#[derive(Debug, Clone)]
pub struct Target {
    pub brokers: Vec<SocketAddr>,
    /// The URL of the server, which may change in a failover.
    pub redis: Arc<Mutex<String>>,
}

/// A publisher.
#[derive(Debug)]
pub struct Publisher {
    workspace: String,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    pace: watch::Sender<Duration>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Press>,
}

impl Publisher {
    /// Begins to publish.
    pub fn start(workspace: &str, target: Target, settings: Settings, opened: Instant) -> Self {
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = watch::channel(false);
        let (pace, paced) = watch::channel(settings.pace);
        let press = Press {
            workspace: workspace.to_owned(),
            target,
            settings,
            opened,
            attempts: attempts.clone(),
            connection: None,
            number: 0,
        };
        let task = tokio::spawn(press.run(stopped, paced));
        Self { workspace: workspace.to_owned(), attempts, pace, stop, task }
    }

    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// How many events were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        let is_acknowledged = |attempt: &&Attempt| matches!(attempt.outcome, Outcome::Acknowledged(_));
        self.attempts.lock().iter().filter(is_acknowledged).count()
    }

    /// The greatest number that was acknowledged so far, 0 where there is none.
    pub fn last_acknowledged(&self) -> u64 {
        let is_acknowledged = |attempt: &&Attempt| matches!(attempt.outcome, Outcome::Acknowledged(_));
        self.attempts.lock().iter().rfind(is_acknowledged).map_or(0, |attempt| attempt.number)
    }

    /// Changes the pause between two events.
    pub fn set_pace(&self, pace: Duration) {
        self.pace.send_replace(pace);
    }

    /// Lets the event that is under way end, and answers who can publish further ones.
    pub async fn stop(self) -> Press {
        self.stop.send_replace(true);
        self.task.await.expect("a publisher that does not fail")
    }
}

/// What publishes, one event at a time.
#[derive(Debug)]
pub struct Press {
    pub workspace: String,
    target: Target,
    settings: Settings,
    opened: Instant,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    connection: Option<MultiplexedConnection>,
    number: u64,
}

impl Press {
    async fn run(mut self, mut stopped: watch::Receiver<bool>, mut paced: watch::Receiver<Duration>) -> Self {
        if self.settings.waits {
            tokio::select! {
                _ = stopped.changed() => {}
                _ = paced.changed() => {}
            }
        }
        while !*stopped.borrow_and_update() {
            self.publish().await;
            let pace = *paced.borrow_and_update();
            // Whoever changes the pace, or stops, is not kept waiting for the old one.
            tokio::select! {
                () = tokio::time::sleep(pace) => {}
                _ = stopped.changed() => {}
                _ = paced.changed() => {}
            }
        }
        self
    }

    /// Publishes the next number, and answers it if it was acknowledged.
    pub async fn publish(&mut self) -> Option<u64> {
        self.number += 1;
        let number = self.number;
        let way = self.settings.ways[fastrand::usize(..self.settings.ways.len())];
        let padding = "x".repeat(self.settings.padding);
        let payload = format!(r#"{{"type":"LEDGER","number":{number},"padding":"{padding}"}}"#);
        let began = self.opened.elapsed();
        let outcome = tokio::time::timeout(TIMEOUT * 4, self.publish_by(way, &payload)).await;
        let outcome = outcome.unwrap_or(Outcome::Unknown);
        if outcome == Outcome::Unknown {
            // What was written to it may be answered yet, and must not be taken for another's answer.
            self.connection = None;
        }
        self.attempts.lock().push(Attempt { number, began, outcome });
        matches!(outcome, Outcome::Acknowledged(_)).then_some(number)
    }

    /// All that was tried.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().clone()
    }

    async fn publish_by(&mut self, way: Way, payload: &str) -> Outcome {
        match way {
            Way::Post => self.post(payload, None).await,
            Way::PostOnce => self.post_once(payload).await,
            Way::Script | Way::Function | Way::Plain => {
                if self.connection.is_none() {
                    self.connection = self.connect().await;
                }
                // Nothing was sent.
                let Some(connection) = self.connection.clone() else { return Outcome::Failed };
                let answer = match way {
                    Way::Script => self.script(connection, payload).await,
                    Way::Function => self.function(connection, payload).await,
                    _ => self.plain(connection, payload).await,
                };
                match answer {
                    Ok(id) => Outcome::Acknowledged(id.parse().expect("an entry id")),
                    Err(error) if is_answer(&error) => Outcome::Failed,
                    Err(_) => Outcome::Unknown,
                }
            }
        }
    }

    async fn post_once(&self, payload: &str) -> Outcome {
        let key = format!("{}-{}", self.workspace, self.number);
        let mut outcome = Outcome::Failed;
        for _ in 0..TRIES {
            match self.post(payload, Some(&key)).await {
                Outcome::Acknowledged(id) => return Outcome::Acknowledged(id),
                Outcome::Unknown => outcome = Outcome::Unknown,
                Outcome::Failed => {}
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
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.ok()?.ok()
    }

    async fn script(
        &self,
        mut connection: MultiplexedConnection,
        payload: &str,
    ) -> Result<String, RedisError> {
        let hash = redis::Script::new(SCRIPT);
        match self.call("EVALSHA", hash.get_hash(), payload).query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.call("EVAL", SCRIPT, payload).query_async(&mut connection).await
            }
            answer => answer,
        }
    }

    async fn function(
        &self,
        mut connection: MultiplexedConnection,
        payload: &str,
    ) -> Result<String, RedisError> {
        self.call("FCALL", "tidings_publish", payload).query_async(&mut connection).await
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
        transaction.cmd("PUBLISH").arg(&log).arg("").ignore();
        let (id,): (String,) = transaction.query_async(&mut connection).await?;
        Ok(id)
    }

    fn call(&self, command: &str, script: &str, payload: &str) -> redis::Cmd {
        let mut call = redis::cmd(command);
        call.arg(script).arg(1).arg(self.log()).arg(payload).arg(self.settings.retention);
        call
    }

    fn log(&self) -> String {
        format!("workspace:{}", self.workspace)
    }
}

/// Whether the server answered, with an error: then nothing was published.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

fn is_refused_connection(error: &Failure) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}
