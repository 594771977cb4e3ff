//! Runs commands at the server of their slot.
//!
//! Redirections and errors that pass are handled within the timeout of the command (Redis Cluster
//! specification, "Redirection and resharding").

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::{sleep, timeout};

use super::super::backoff::Backoff;
use super::super::commands::NotRun;
use super::super::runner::CommandRunner;
use super::refresher::Refresher;
use super::servers::{ClusterServer, Servers};
use super::slot::slot_of;

/// The first pause before a command is run again, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(300)];

/// The redirections in a row that are followed without a pause. Two servers that name each other
/// must not be asked in a loop.
const REDIRECTIONS_MAX: u32 = 3;

/// Routes commands by their slots.
pub(super) struct Router {
    pub(super) servers: Arc<Servers>,
    pub(super) refresher: Refresher,
    timeout: Duration,
}

/// Runs commands of one slot.
pub(super) struct SlotCommands<'a> {
    router: &'a Router,
    slot: u16,
    /// The command that creates a missing key of the others.
    reserve: Option<Cmd>,
}

/// A server to run a command at.
struct Destination {
    server: Arc<ClusterServer>,
    /// The slot is on its way to the server.
    asking: bool,
}

/// The next step after an error.
#[derive(Debug, PartialEq, Eq)]
enum Reaction<'a> {
    /// The slot belongs to the server at this address.
    Moved(&'a str),
    /// The slot moves to the server at this address, which has the key already.
    Ask(&'a str),
    /// The error passes, and the command has not run.
    Passing,
    /// The error stays.
    Final,
}

impl Router {
    pub(super) fn new(servers: Arc<Servers>, refresher: Refresher, timeout: Duration) -> Self {
        Self { servers, refresher, timeout }
    }

    /// Returns the runner of commands with this key, and with other keys of its slot.
    pub(super) fn of(&self, key: &str) -> SlotCommands<'_> {
        SlotCommands { router: self, slot: slot_of(key.as_bytes()), reserve: None }
    }

    /// Returns the owner of a slot.
    async fn owner(&self, slot: u16, deadline: Instant) -> RedisResult<Destination> {
        let find = || {
            let topology = self.refresher.topology()?;
            let place = topology.servers.get(topology.owner(slot)?)?;
            Some(Destination { server: self.servers.at(place), asking: false })
        };
        if let Some(destination) = find() {
            return Ok(destination);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match timeout(left, self.refresher.refresh()).await {
            Ok(Ok(())) => find().ok_or_else(|| {
                RedisError::from((ErrorKind::Io, "no server", format!("slot {slot} has no primary")))
            }),
            Ok(Err(error)) => Err(RedisError::from((ErrorKind::Io, "no server", error.to_string()))),
            Err(_) => Err(RedisError::from((ErrorKind::Io, "no server", "no reply in time".to_owned()))),
        }
    }
}

impl SlotCommands<'_> {
    /// Has the first `TRYAGAIN` run a command with one key.
    ///
    /// While a slot moves, a server rejects a command with several keys if one of them is nowhere.
    /// A command with that key alone runs at the server that accepts new keys.
    pub(super) fn reserving(self, reserve: Cmd) -> Self {
        Self { reserve: Some(reserve), ..self }
    }

    /// Runs a command until it succeeds, fails for good, or the time is over.
    async fn run(&self, command: &Cmd, deadline: Instant) -> RedisResult<Value> {
        self.run_reserving(command, self.reserve.as_ref(), deadline).await
    }

    async fn run_reserving(
        &self,
        command: &Cmd,
        mut reserve: Option<&Cmd>,
        deadline: Instant,
    ) -> RedisResult<Value> {
        let mut pauses = Backoff::new(PAUSES[0], PAUSES[1]);
        let mut redirected = None;
        let mut redirections = 0;
        loop {
            let destination = match redirected.take() {
                Some(destination) => Ok(destination),
                None => self.router.owner(self.slot, deadline).await,
            };
            let failed = match destination {
                Ok(destination) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    match destination.ask(command, left).await {
                        Ok(value) => return Ok(value),
                        Err(failed) => {
                            let next = match reaction(&failed) {
                                Reaction::Final => return Err(failed.error),
                                Reaction::Passing => None,
                                Reaction::Moved(address) => {
                                    let server = self.router.servers.redirected(&destination.server, address);
                                    server.map(|server| Destination { server, asking: false })
                                }
                                Reaction::Ask(address) => {
                                    let server = self.router.servers.redirected(&destination.server, address);
                                    server.map(|server| Destination { server, asking: true })
                                }
                            };
                            if !next.as_ref().is_some_and(|next| next.asking) {
                                self.router.refresher.request();
                            }
                            if is_split(&failed.error)
                                && let Some(reserve) = reserve.take()
                                && Box::pin(self.run_reserving(reserve, None, deadline)).await.is_ok()
                            {
                                continue;
                            }
                            redirections += 1;
                            redirected = next.filter(|_| redirections % REDIRECTIONS_MAX != 0);
                            failed.error
                        }
                    }
                }
                Err(error) => error,
            };
            if redirected.is_none() {
                let pause = pauses.pause();
                if Instant::now() + pause >= deadline {
                    return Err(failed);
                }
                sleep(pause).await;
            } else if Instant::now() >= deadline {
                return Err(failed);
            }
        }
    }
}

impl CommandRunner for SlotCommands<'_> {
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let value = self.run(command, Instant::now() + self.router.timeout).await?;
        Ok(redis::from_redis_value(value)?)
    }

    async fn ask_all(&self, pipeline: &Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        let deadline = Instant::now() + self.router.timeout;
        let whole = match self.router.owner(self.slot, deadline).await {
            Ok(destination) => {
                let left = deadline.saturating_duration_since(Instant::now());
                destination.server.commands.try_ask_all(pipeline, left).await.ok()
            }
            Err(_) => None,
        };
        // The commands that failed are run one by one: each may be redirected to another server.
        let mut replies = Vec::with_capacity(pipeline.len());
        let mut first = whole.into_iter().flatten();
        for command in pipeline.cmd_iter() {
            let reply = match first.next() {
                Some(Err(error)) if is_of_cluster(&error) => self.run(command, deadline).await,
                Some(reply) => reply,
                None => self.run(command, deadline).await,
            };
            match reply {
                Err(error) if error.is_io_error() => return Err(error),
                reply => replies.push(reply),
            }
        }
        Ok(replies)
    }
}

impl Destination {
    async fn ask(&self, command: &Cmd, within: Duration) -> Result<Value, NotRun> {
        if !self.asking {
            return self.server.commands.try_ask(command, within).await;
        }
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("ASKING").add_command(command.clone()).ignore_errors();
        let replies = self.server.commands.try_ask_all(&pipeline, within).await?;
        let missing = || Err(RedisError::from((ErrorKind::Parse, "the server sent too few replies")));
        let reply = replies.into_iter().nth(1).unwrap_or_else(missing);
        reply.map_err(|error| NotRun { error, may_have_run: true })
    }
}

fn reaction(failed: &NotRun) -> Reaction<'_> {
    let error = &failed.error;
    let address = || error.redirect_node().map(|(address, _)| address);
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved) => address().map_or(Reaction::Passing, Reaction::Moved),
        ErrorKind::Server(ServerErrorKind::Ask) => address().map_or(Reaction::Passing, Reaction::Ask),
        _ if is_of_cluster(error) || !failed.may_have_run => Reaction::Passing,
        _ => Reaction::Final,
    }
}

/// Returns whether the keys of a command are not all at one server.
fn is_split(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain)
}

/// Returns whether a server rejects a command for the state of the cluster. It has not run then.
fn is_of_cluster(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    matches!(
        error.kind(),
        ErrorKind::Server(Ask | BusyLoading | ClusterDown | MasterDown | Moved | ReadOnly | TryAgain)
    )
}

#[cfg(test)]
mod tests;
