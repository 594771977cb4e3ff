//! The life of one subscription link.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use redis::{RedisError, Value};

use super::RedisBus;
use super::connect::{LinkTarget, describe, is_passing};
use super::connection::RedisConnection;
use super::identity::ServerIdentity;
use super::link_gate::LinkGate;
use super::probe::Probes;
use tidings_event::SubscriptionChange;
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::Throttle;

/// Channels in one SUBSCRIBE: large enough to make thousands in a few round trips, small enough that no single answer
/// holds the link up.
const CHUNK: usize = 100;

/// Why a link was given up.
#[derive(Debug)]
pub(super) struct Lost(pub(super) String);

/// One link and what is subscribed on it.
pub(super) struct SubscriptionSession<'a> {
    bus: &'a RedisBus,
    link_gate: &'a LinkGate,
    connection: RedisConnection,
    target: LinkTarget,
    subscribed: HashSet<WorkspaceId>,
    refused: HashMap<WorkspaceId, String>,
    /// The server will not have the subscription to the node's own probes.
    probe_refused: bool,
    /// The server will not have the subscription to orders.
    control_refused: bool,
    refusal_log: Throttle,
}

impl<'a> SubscriptionSession<'a> {
    pub(super) fn new(
        bus: &'a RedisBus,
        link_gate: &'a LinkGate,
        connection: RedisConnection,
        target: LinkTarget,
    ) -> Self {
        let (subscribed, refused) = (HashSet::new(), HashMap::new());
        let refusal_log = Throttle::default();
        Self {
            bus,
            link_gate,
            connection,
            target,
            subscribed,
            refused,
            probe_refused: false,
            control_refused: false,
            refusal_log,
        }
    }

    /// How many workspaces are subscribed.
    pub(super) fn subscribed(&self) -> usize {
        self.subscribed.len()
    }

    /// Sees that the server does its work, then subscribes to everything that is wanted. A server that loads its data or has
    /// lost its primary takes subscriptions too, and nobody must be told that events come from it.
    pub(super) async fn begin(&mut self, probes: &mut Probes<'_>) -> Result<(), Lost> {
        self.ping().await?;
        self.read_log().await?;
        self.subscribe_probe().await?;
        probes.begin().await?;
        self.subscribe_control().await?;
        let wanted = self.bus.desired_subscriptions.take_all();
        self.subscribe(&wanted).await
    }

    /// Follows the interest and pings, until the link is lost.
    pub(super) async fn live(&mut self) -> Lost {
        let mut ping = tokio::time::interval(self.bus.config.ping_seconds.duration());
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut poll = tokio::time::interval(self.bus.config.sentinel.poll_seconds.duration());
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let outcome = tokio::select! {
                _ = ping.tick() => self.ping().await,
                _ = poll.tick(), if self.target.primary.is_some() => self.check_primary().await,
                () = self.bus.desired_subscriptions.changed() => self.follow().await,
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
        for (workspace, change) in self.bus.desired_subscriptions.take_changes() {
            match change {
                SubscriptionChange::Want if self.subscribed.contains(&workspace) => {
                    self.link_gate.confirm(&workspace)
                }
                SubscriptionChange::Want => wanted.push(workspace),
                SubscriptionChange::Release => {
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
                    self.log_refusal(&self.bus.channels.of(workspace), &reason);
                    self.link_gate.refuse(workspace, &reason);
                    self.refused.insert(workspace.clone(), reason);
                }
                Err(error) => return Err(lost(error)),
            }
        }
        Ok(())
    }

    /// Subscribes to the node's own probes. Where that is refused, it is tried again with each ping: an administrator
    /// may give the right at any time, and nobody tells.
    async fn subscribe_probe(&mut self) -> Result<(), Lost> {
        let refused = match self.connection.subscribe(self.bus.channels.probe()).await {
            Ok(()) => None,
            Err(error) if is_refusal(&error) => Some(describe(&error)),
            Err(error) => return Err(lost(error)),
        };
        if let (Some(reason), false) = (&refused, self.probe_refused) {
            self.log_refusal(self.bus.channels.probe(), reason);
        }
        self.probe_refused = refused.is_some();
        self.bus.state.set_subscription_refused(refused);
        Ok(())
    }

    /// Subscribes to the orders of backends; where that is refused, it is tried again with each ping.
    async fn subscribe_control(&mut self) -> Result<(), Lost> {
        let channel = self.bus.channels.control();
        let refused = match self.connection.subscribe(channel).await {
            Ok(()) => None,
            Err(error) if is_refusal(&error) => Some(describe(&error)),
            Err(error) => return Err(lost(error)),
        };
        if let (Some(reason), false) = (&refused, self.control_refused) {
            tracing::warn!(
                channel,
                reason,
                "Redis does not let this node hear the orders of backends: nobody can be disconnected from it; give the user access, as in `ACL SETUSER … &{channel}`"
            );
        }
        self.control_refused = refused.is_some();
        self.bus.state.set_control_refused(refused);
        Ok(())
    }

    fn log_refusal(&self, channel: &str, reason: &str) {
        if let Some(silenced) = self.refusal_log.pass() {
            tracing::error!(
                channel,
                reason,
                silenced,
                "Redis refuses a subscription: give the user access to the channels, as in `ACL SETUSER … &{}*`; `tidings check` tells more",
                self.bus.config.channel_prefix
            );
        }
    }

    async fn ping(&mut self) -> Result<(), Lost> {
        let asked = Instant::now();
        match redis::cmd("PING").query_async::<Value>(&mut self.connection).await {
            Ok(_) => {}
            // An answer is an answer: what is published still comes. While a script runs, nothing is.
            Err(error) if is_refusal(&error) || matches!(error.code(), Some("BUSY" | "MISCONF")) => {}
            Err(error) if error.is_timeout() => {
                return Err(Lost(format!(
                    "no answer to a ping within {:.1} s",
                    asked.elapsed().as_secs_f64()
                )));
            }
            Err(error) => return Err(lost(error)),
        }
        self.check_role().await?;
        if self.control_refused {
            self.subscribe_control().await?;
        }
        if self.probe_refused {
            return self.subscribe_probe().await;
        }
        if self.bus.state.snapshot().probe_refused.is_some() {
            self.bus.state.heard();
        }
        Ok(())
    }

    /// Whether this is still the primary. A primary that was cut off from the others keeps its clients connected, silent
    /// and ignorant of its successor.
    async fn check_primary(&mut self) -> Result<(), Lost> {
        self.bus.connector.confirm(&self.target).await.map_err(Lost)?;
        self.check_role().await
    }

    /// Whether the server is a primary by its own word. One that was demoted keeps its clients connected, and says so to
    /// those who ask.
    async fn check_role(&mut self) -> Result<(), Lost> {
        let server = ServerIdentity::ask_role(&mut self.connection).await.map_err(lost)?;
        self.target.check(&server).map_err(|error| Lost(error.to_string()))
    }

    /// Reads a log over the link for commands, any: it is the node's own, which holds nothing. What the server forbids is an
    /// answer.
    async fn read_log(&self) -> Result<(), Lost> {
        let mut read = redis::cmd("XREVRANGE");
        read.arg(self.bus.channels.probe()).arg("+").arg("-").arg("COUNT").arg(1);
        match self.bus.commands.ask::<Value>(&read).await {
            Err(error) if error.is_io_error() || is_passing(&error) => Err(lost(error)),
            _ => Ok(()),
        }
    }
}

/// Whether an error is the server's decision about this one command, and the link stands.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

#[expect(clippy::needless_pass_by_value, reason = "passed to map_err")]
fn lost(error: RedisError) -> Lost {
    if error.is_timeout() {
        Lost("the server did not answer in time".to_owned())
    } else {
        Lost(describe(&error))
    }
}
