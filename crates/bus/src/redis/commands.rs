//! The link for commands.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::backoff::Backoff;
use super::connect::{ConnectError, Connector, LinkTarget, describe, is_readonly, is_unauthenticated};
use super::connection::RedisConnection;
use super::identity::ServerIdentity;
use crate::settings::RedisConfig;

/// Commands have a connection of their own, made when first used and made again when it was lost. While a subscription
/// link stands, it leads to the same server or it is not made.
pub(super) struct Commands(Arc<CommandsInner>);

struct CommandsInner {
    connector: Arc<Connector>,
    timeout: Duration,
    route: Mutex<Route>,
    /// The two links were found not to be with one primary.
    mismatched: Notify,
}

/// Where commands go.
struct Route {
    /// Which server the subscription link is with; `None` while none stands.
    pin: Option<Arc<Pin>>,
    /// Counts pins: what was begun under another one does not count any more.
    pins: u64,
    /// Counts links.
    links: u64,
    state: CommandsState,
    /// Pauses between attempts; as long as links do not last, they grow.
    backoff: Backoff,
    next_attempt: Instant,
    /// Why the last attempt failed.
    failure: Option<ConnectError>,
    /// Why the links cannot be with one primary.
    mismatch: Option<String>,
}

struct Pin {
    target: LinkTarget,
    server: ServerIdentity,
}

enum CommandsState {
    Idle,
    /// Driven by all who wait for it.
    Connecting(Attempt),
    Linked(CommandLink),
}

/// `None` when the pin changed meanwhile.
type Attempt = Shared<BoxFuture<'static, Option<Result<CommandLink, ConnectError>>>>;

#[derive(Clone)]
struct CommandLink {
    connection: RedisConnection,
    made: Instant,
    number: u64,
}

impl Commands {
    pub(super) fn new(connector: Arc<Connector>, config: &RedisConfig) -> Self {
        let timeout = config.command_timeout_seconds.duration();
        // A command that waits for the link sees several attempts.
        let pause_max = config.backoff_max_seconds.duration().min(timeout / 4);
        let pause_min = config.backoff_min_seconds.duration().min(pause_max);
        let route = Route {
            pin: None,
            pins: 0,
            links: 0,
            state: CommandsState::Idle,
            backoff: Backoff::new(pause_min, pause_max),
            next_attempt: Instant::now(),
            failure: None,
            mismatch: None,
        };
        Self(Arc::new(CommandsInner {
            connector,
            timeout,
            route: Mutex::new(route),
            mismatched: Notify::new(),
        }))
    }

    /// A subscription link was made with this server: commands go there, over a new connection, and nowhere else.
    pub(super) fn pin(&self, target: LinkTarget, server: ServerIdentity) {
        let mut route = self.0.route.lock();
        route.set_pin(Some(Arc::new(Pin { target, server })));
        route.next_attempt = Instant::now();
        route.failure = None;
    }

    /// The subscription link is lost: the server is looked for before the next command.
    pub(super) fn unpin(&self) {
        self.0.route.lock().set_pin(None);
    }

    /// Waits until it turns out that the two links are not with one primary, and answers why. Cancellation safe; for one
    /// waiter.
    pub(super) async fn mismatch(&self) -> String {
        loop {
            if let Some(reason) = self.0.route.lock().mismatch.take() {
                return reason;
            }
            self.0.mismatched.notified().await;
        }
    }

    /// One command, answered or failed within the timeout however many attempts the connection takes.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        self.run(self.0.timeout, async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Several commands in one round trip, under the same bound. An answer that is an error is one of the answers.
    pub(super) async fn ask_all(&self, pipeline: &Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        self.run(self.0.timeout, async |mut connection| pipeline.query_async(&mut connection).await).await
    }

    /// Makes the link if there is none, and sees that it answers within a time and that its server is a primary. One that
    /// does not answer is given up.
    pub(super) async fn check(&self, within: Duration) {
        let asked =
            self.run(within, async |mut connection| ServerIdentity::ask_role(&mut connection).await).await;
        match asked {
            Ok(server) => {
                let mut route = self.0.route.lock();
                if let Some(pin) = route.pin.clone()
                    && let Err(error) = pin.target.check(&server)
                {
                    self.0.note_mismatch(&mut route, error.to_string());
                }
            }
            Err(error) => {
                tracing::debug!(error = describe(&error), "the link for commands does not answer");
            }
        }
    }

    /// Asks over the link, within a time, and judges the link by the outcome.
    async fn run<T>(
        &self,
        within: Duration,
        ask: impl AsyncFnOnce(RedisConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let came = Instant::now();
        let deadline = (came + within).into();
        let link = match timeout_at(deadline, self.link()).await {
            Ok(link) => link.map_err(|error| unreachable(&error))?,
            Err(_) => {
                let failure = self.0.route.lock().failure.clone();
                return Err(failure.map_or_else(timed_out, |error| unreachable(&error)));
            }
        };
        let asked = Instant::now();
        let excess = link.connection.excess().clone();
        let mut outcome =
            timeout_at(deadline, ask(link.connection)).await.unwrap_or_else(|_| Err(timed_out()));
        // Which of the commands under way got the long answer is not known.
        if let (Err(error), Some(reason)) = (&outcome, excess.get())
            && error.is_io_error()
        {
            outcome = Err(reason.of_command());
        }
        if let Err(error) = &outcome {
            let mut route = self.0.route.lock();
            if is_readonly(error) {
                // What was the primary is a replica now. An answer from an earlier link says nothing about this one.
                if route.give_up(link.number) {
                    self.0.note_mismatch(
                        &mut route,
                        "the server takes no writes any more: READONLY".to_owned(),
                    );
                }
            } else if error.is_timeout() {
                // One that had to wait for the link for most of its time says nothing about it.
                if asked.elapsed() >= within / 2 {
                    route.give_up(link.number);
                }
            } else if error.is_io_error() || error.kind() == ErrorKind::Parse || is_unauthenticated(error) {
                route.give_up(link.number);
            }
        }
        outcome
    }

    async fn link(&self) -> Result<CommandLink, ConnectError> {
        loop {
            let attempt = {
                let mut route = self.0.route.lock();
                match &route.state {
                    CommandsState::Linked(link) => return Ok(link.clone()),
                    CommandsState::Connecting(attempt) => attempt.clone(),
                    CommandsState::Idle => {
                        let attempt = self.attempt(&route).boxed().shared();
                        route.state = CommandsState::Connecting(attempt.clone());
                        attempt
                    }
                }
            };
            if let Some(outcome) = attempt.await {
                return outcome;
            }
        }
    }

    /// One attempt, after the pause that is due.
    fn attempt(
        &self,
        route: &Route,
    ) -> impl Future<Output = Option<Result<CommandLink, ConnectError>>> + use<> {
        // Not the whole: it holds the attempt.
        let inner = Arc::downgrade(&self.0);
        let (connector, timeout) = (Arc::clone(&self.0.connector), self.0.timeout);
        let (pin, pins, pause) = (route.pin.clone(), route.pins, route.next_attempt);
        async move {
            tokio::time::sleep_until(pause.into()).await;
            let made = connect(&connector, timeout, pin.as_deref()).await;
            Weak::upgrade(&inner)?.settle(pins, made)
        }
    }
}

impl CommandsInner {
    /// Notes what came of an attempt.
    fn settle(
        &self,
        pins: u64,
        made: Result<RedisConnection, ConnectError>,
    ) -> Option<Result<CommandLink, ConnectError>> {
        let mut route = self.route.lock();
        if route.pins != pins {
            return None;
        }
        Some(match made {
            Ok(connection) => {
                route.links += 1;
                let link = CommandLink { connection, made: Instant::now(), number: route.links };
                route.state = CommandsState::Linked(link.clone());
                route.failure = None;
                Ok(link)
            }
            Err(error) => {
                route.state = CommandsState::Idle;
                route.next_attempt = Instant::now() + route.backoff.pause();
                route.failure = Some(error.clone());
                if matches!(
                    error,
                    ConnectError::Unfit(_) | ConnectError::Demoted(_) | ConnectError::OtherServer
                ) {
                    self.note_mismatch(&mut route, error.to_string());
                }
                Err(error)
            }
        })
    }

    /// The two links are not with one primary. Without a subscription link there is nothing to tell.
    fn note_mismatch(&self, route: &mut Route, reason: String) {
        if route.pin.is_some() {
            route.mismatch = Some(reason);
            self.mismatched.notify_one();
        }
    }
}

impl Route {
    fn set_pin(&mut self, pin: Option<Arc<Pin>>) {
        self.pin = pin;
        self.pins += 1;
        self.state = CommandsState::Idle;
        self.mismatch = None;
    }

    /// Gives a link up, if it is still the one in use; returns whether it was. The next one is made after a pause, which is
    /// short where the link had lasted.
    fn give_up(&mut self, number: u64) -> bool {
        let CommandsState::Linked(link) = &self.state else { return false };
        if link.number != number {
            return false;
        }
        if link.made.elapsed() > self.backoff.max() {
            self.backoff.reset();
        }
        self.state = CommandsState::Idle;
        self.next_attempt = Instant::now() + self.backoff.pause();
        true
    }
}

/// Makes a connection to a primary, the pinned one if there is a pin.
async fn connect(
    connector: &Connector,
    timeout: Duration,
    pin: Option<&Pin>,
) -> Result<RedisConnection, ConnectError> {
    let target = match pin {
        Some(pin) => pin.target.clone(),
        None => connector.find().await?,
    };
    let mut connection = connector.command_connection(&target, timeout).await?;
    let server = ServerIdentity::ask(&mut connection).await?;
    target.check(&server)?;
    match pin {
        Some(pin) if pin.server.differs_from(&server) => Err(ConnectError::OtherServer),
        _ => Ok(connection),
    }
}

fn unreachable(error: &ConnectError) -> RedisError {
    RedisError::from((ErrorKind::Io, "no server", error.to_string()))
}

fn timed_out() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}
