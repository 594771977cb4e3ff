//! The life of one subscription link.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, Value};

use super::RedisBus;
use super::connect::describe;
use super::gate::Gate;
use crate::bus::Change;
use crate::telemetry::Throttle;
use crate::workspace::WorkspaceId;

/// Channels in one SUBSCRIBE: large enough to make thousands in a few round trips, small enough that no single answer
/// holds the link up.
const CHUNK: usize = 100;

/// Why a link was given up.
#[derive(Debug)]
pub(super) struct Lost(pub(super) String);

/// One link and what is subscribed on it.
pub(super) struct Session<'a> {
    bus: &'a RedisBus,
    gate: &'a Gate,
    connection: MultiplexedConnection,
    subscribed: HashSet<WorkspaceId>,
    refused: HashMap<WorkspaceId, String>,
    refusal_log: Throttle,
}

impl<'a> Session<'a> {
    pub(super) fn new(bus: &'a RedisBus, gate: &'a Gate, connection: MultiplexedConnection) -> Self {
        let (subscribed, refused) = (HashSet::new(), HashMap::new());
        Self { bus, gate, connection, subscribed, refused, refusal_log: Throttle::default() }
    }

    /// How many workspaces are subscribed.
    pub(super) fn subscribed(&self) -> usize {
        self.subscribed.len()
    }

    /// Subscribes to the node's probes and to everything that is wanted.
    pub(super) async fn begin(&mut self) -> Result<(), Lost> {
        self.learn_server().await?;
        self.subscribe_probe().await?;
        let wanted = self.bus.interest.take_all();
        self.subscribe(&wanted).await
    }

    /// Follows the interest and pings, until the link is lost.
    pub(super) async fn live(&mut self) -> Lost {
        let mut ping = tokio::time::interval(self.bus.config.ping_seconds.duration());
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let outcome = tokio::select! {
                _ = ping.tick() => self.ping().await,
                () = self.bus.interest.changed() => self.follow().await,
            };
            if let Err(lost) = outcome {
                return lost;
            }
        }
    }

    /// Brings the subscriptions in line with what changed in the interest.
    async fn follow(&mut self) -> Result<(), Lost> {
        let mut wanted = Vec::new();
        let mut released = Vec::new();
        for (workspace, change) in self.bus.interest.take_changes() {
            match change {
                Change::Want if self.subscribed.contains(&workspace) => self.gate.confirm(&workspace),
                Change::Want => wanted.push(workspace),
                Change::Release => {
                    self.refused.remove(&workspace);
                    if self.subscribed.remove(&workspace) {
                        released.push(workspace);
                    }
                }
            }
        }
        for chunk in released.chunks(CHUNK) {
            let channels: Vec<_> = chunk.iter().map(|workspace| self.bus.channels.of(workspace)).collect();
            self.connection.unsubscribe(&channels).await.map_err(lost)?;
        }
        self.subscribe(&wanted).await
    }

    /// Subscribes to workspaces; each is confirmed through the gate, or refused here.
    async fn subscribe(&mut self, workspaces: &[WorkspaceId]) -> Result<(), Lost> {
        for chunk in workspaces.chunks(CHUNK) {
            let channels: Vec<_> = chunk.iter().map(|workspace| self.bus.channels.of(workspace)).collect();
            match self.connection.subscribe(&channels).await {
                Ok(()) => {
                    for workspace in chunk {
                        self.refused.remove(workspace);
                        self.subscribed.insert(workspace.clone());
                    }
                }
                // One channel that is not allowed makes the server refuse the whole command: find out which.
                Err(error) if is_refusal(&error) => self.subscribe_one_by_one(chunk).await?,
                Err(error) => return Err(lost(error)),
            }
        }
        let last = self.refused.values().next().map(|reason| (self.refused.len(), reason.clone()));
        self.bus.state.set_refused(last);
        Ok(())
    }

    async fn subscribe_one_by_one(&mut self, workspaces: &[WorkspaceId]) -> Result<(), Lost> {
        for workspace in workspaces {
            match self.connection.subscribe(self.bus.channels.of(workspace)).await {
                Ok(()) => {
                    self.refused.remove(workspace);
                    self.subscribed.insert(workspace.clone());
                }
                Err(error) if is_refusal(&error) => {
                    let reason = describe(&error);
                    if let Some(silenced) = self.refusal_log.pass() {
                        tracing::error!(
                            %workspace, reason, silenced,
                            "Redis refuses a subscription: give the user access to the channels, as in `ACL SETUSER … &{}*`; `tidings check` tells more",
                            self.bus.config.channel_prefix
                        );
                    }
                    self.gate.refuse(workspace, &reason);
                    self.refused.insert(workspace.clone(), reason);
                }
                Err(error) => return Err(lost(error)),
            }
        }
        Ok(())
    }

    async fn subscribe_probe(&mut self) -> Result<(), Lost> {
        match self.connection.subscribe(self.bus.channels.probe()).await {
            Ok(()) => Ok(()),
            Err(error) if is_refusal(&error) => {
                self.bus.state.set_subscribing_refused(describe(&error));
                Ok(())
            }
            Err(error) => Err(lost(error)),
        }
    }

    async fn ping(&mut self) -> Result<(), Lost> {
        let asked = Instant::now();
        match redis::cmd("PING").query_async::<Value>(&mut self.connection).await {
            Ok(_) => {}
            Err(error) if is_refusal(&error) => {
                // An answer is an answer.
            }
            Err(error) if error.is_timeout() => {
                return Err(Lost(format!(
                    "no answer to a ping within {:.1} s",
                    asked.elapsed().as_secs_f64()
                )));
            }
            Err(error) => return Err(lost(error)),
        }
        if self.bus.state.snapshot().probe_refused.is_some() {
            self.bus.state.heard();
        }
        Ok(())
    }

    /// Asks the server what it is. HELLO without arguments answers that and changes nothing.
    async fn learn_server(&mut self) -> Result<(), Lost> {
        let answer: RedisResult<HashMap<String, Value>> =
            redis::cmd("HELLO").query_async(&mut self.connection).await;
        match answer {
            Ok(fields) => {
                let field = |name| {
                    fields.get(name).and_then(|value| redis::from_redis_value_ref::<String>(value).ok())
                };
                if let (Some(server), Some(version)) = (field("server"), field("version")) {
                    self.bus.state.set_server(format!("{server} {version}"));
                }
                Ok(())
            }
            Err(error) if is_refusal(&error) || error.kind() == ErrorKind::UnexpectedReturnType => Ok(()),
            Err(error) => Err(lost(error)),
        }
    }
}

/// Whether an error is the server's decision about this one command, and the link stands.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

#[expect(clippy::needless_pass_by_value, reason = "passed to map_err")]
fn lost(error: RedisError) -> Lost {
    Lost(describe(&error))
}
