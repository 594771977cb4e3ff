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
use super::runner::CommandRunner;
use crate::settings::RedisConfig;

/// Runs commands on a connection of their own.
///
/// The first command opens it, and the next command reopens a lost one. While there is a link for
/// events, commands go to the same server only.
pub(super) struct Commands(Arc<CommandsInner>);

struct CommandsInner {
    connector: Arc<Connector>,
    timeout: Duration,
    route: Mutex<Route>,
    /// Notifies that the two links do not lead to one primary.
    mismatched: Notify,
}

/// The destination of commands.
struct Route {
    /// The server of the link for events; `None` without such a link.
    pin: Option<Arc<Pin>>,
    /// The number of the current pin. Attempts under an earlier pin do not count.
    pins: u64,
    /// The number of the current link.
    links: u64,
    state: CommandsState,
    /// The pauses between attempts. They grow as long as links do not last.
    backoff: Backoff,
    next_attempt: Instant,
    /// The error of the last attempt.
    failure: Option<ConnectError>,
    /// The reason for which the two links cannot lead to one primary.
    mismatch: Option<String>,
}

struct Pin {
    target: LinkTarget,
    server: ServerIdentity,
}

enum CommandsState {
    Idle,
    /// All waiting commands drive the attempt.
    Connecting(Attempt),
    Linked(CommandLink),
}

/// `None` if the pin has changed meanwhile.
type Attempt = Shared<BoxFuture<'static, Option<Result<CommandLink, ConnectError>>>>;

/// The error of a command.
#[derive(Debug)]
pub(super) struct NotRun {
    pub(super) error: RedisError,
    /// The command was sent. An error of the link leaves open whether the server has run it.
    pub(super) may_have_run: bool,
}

#[derive(Clone)]
struct CommandLink {
    connection: RedisConnection,
    made: Instant,
    number: u64,
}

impl Commands {
    pub(super) fn new(connector: Arc<Connector>, config: &RedisConfig) -> Self {
        let timeout = config.command_timeout_seconds.duration();
        // A command that waits for the link outlasts several attempts.
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

    /// Sends commands to this server only, over a new connection. It is the server of the new link
    /// for events.
    pub(super) fn pin(&self, target: LinkTarget, server: ServerIdentity) {
        let mut route = self.0.route.lock();
        route.set_pin(Some(Arc::new(Pin { target, server })));
        route.next_attempt = Instant::now();
        route.failure = None;
    }

    /// Removes the pin, because the link for events is lost. The next command looks for a server
    /// again.
    pub(super) fn unpin(&self) {
        self.0.route.lock().set_pin(None);
    }

    /// Waits until the two links are found to lead to different servers, or to a replica; returns
    /// the reason. Cancellation safe, for one waiter.
    pub(super) async fn mismatch(&self) -> String {
        loop {
            if let Some(reason) = self.0.route.lock().mismatch.take() {
                return reason;
            }
            self.0.mismatched.notified().await;
        }
    }

    /// Runs one command within a time, in one attempt.
    pub(super) async fn try_ask(&self, command: &Cmd, within: Duration) -> Result<Value, NotRun> {
        self.try_run(within, async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Runs several commands in one round trip within a time, in one attempt. An error of one
    /// command is one of the replies.
    pub(super) async fn try_ask_all(
        &self,
        pipeline: &Pipeline,
        within: Duration,
    ) -> Result<Vec<RedisResult<Value>>, NotRun> {
        self.try_run(within, async |mut connection| pipeline.query_async(&mut connection).await).await
    }

    /// Checks that the link responds within a time and that its server is a primary. Opens the link
    /// if there is none, and gives it up if it does not respond.
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
                tracing::debug!(error = describe(&error), "the link for commands does not respond");
            }
        }
    }

    async fn run<T>(
        &self,
        within: Duration,
        ask: impl AsyncFnOnce(RedisConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        self.try_run(within, ask).await.map_err(|failed| failed.error)
    }

    /// Runs commands over the link within a time, and gives the link up after errors of the link.
    async fn try_run<T>(
        &self,
        within: Duration,
        ask: impl AsyncFnOnce(RedisConnection) -> RedisResult<T>,
    ) -> Result<T, NotRun> {
        let deadline = (Instant::now() + within).into();
        let unsent = |error| NotRun { error, may_have_run: false };
        let link = match timeout_at(deadline, self.link()).await {
            Ok(link) => link.map_err(|error| unsent(unreachable(&error)))?,
            Err(_) => {
                let failure = self.0.route.lock().failure.clone();
                return Err(unsent(failure.map_or_else(timed_out, |error| unreachable(&error))));
            }
        };
        let asked = Instant::now();
        let conduct = link.connection.conduct().clone();
        let mut outcome =
            timeout_at(deadline, ask(link.connection)).await.unwrap_or_else(|_| Err(timed_out()));
        // It is not known which of the open commands got the long reply.
        if let (Err(error), Some(reason)) = (&outcome, conduct.fault())
            && error.is_io_error()
        {
            outcome = Err(reason.command_error());
        }
        if let Err(error) = &outcome {
            let mut route = self.0.route.lock();
            if is_readonly(error) {
                // The former primary is a replica now. A reply over an earlier link does not
                // concern this one.
                if route.give_up(link.number) {
                    self.0.note_mismatch(
                        &mut route,
                        "the server accepts no writes any more: READONLY".to_owned(),
                    );
                }
            } else if error.is_timeout() {
                // A command that waited for the link for most of its time says nothing about the
                // link.
                if asked.elapsed() >= within / 2 {
                    route.give_up(link.number);
                }
            } else if error.is_io_error() || error.kind() == ErrorKind::Parse || is_unauthenticated(error) {
                route.give_up(link.number);
            }
        }
        outcome.map_err(|error| NotRun { error, may_have_run: true })
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

    /// Returns one attempt to connect, after the current pause.
    fn attempt(
        &self,
        route: &Route,
    ) -> impl Future<Output = Option<Result<CommandLink, ConnectError>>> + use<> {
        // A strong reference would be a cycle, because `inner` holds the attempt.
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

impl CommandRunner for Commands {
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        self.run(self.0.timeout, async |mut connection| command.query_async(&mut connection).await).await
    }

    async fn ask_all(&self, pipeline: &Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        self.run(self.0.timeout, async |mut connection| pipeline.query_async(&mut connection).await).await
    }
}

impl CommandsInner {
    /// Records the outcome of an attempt.
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

    /// Records that the two links do not lead to one primary. Without a link for events there is
    /// nothing to record.
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

    /// Gives up a link if it is still in use; returns whether it was. The pause before the next
    /// link is short if this one lasted.
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

/// Connects to a primary: to the pinned server, if there is a pin.
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
