//! One link for events, from its first subscription to its loss.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use redis::{RedisError, Value};

use super::RedisBus;
use super::connect::{LinkTarget, describe, is_temporary};
use super::connection::RedisConnection;
use super::identity::ServerIdentity;
use super::link_gate::LinkGate;
use super::probe::Probes;
use super::runner::CommandRunner as _;
use tidings_event::SubscriptionChange;
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::Throttle;

/// The number of channels in one SUBSCRIBE. Thousands of channels need few round trips, and no
/// single reply delays the link.
const CHUNK: usize = 100;

/// The reason for which a link was given up.
#[derive(Debug)]
pub(super) struct Lost(pub(super) String);

/// One link and its subscriptions.
pub(super) struct SubscriptionSession<'a> {
    bus: &'a RedisBus,
    link_gate: &'a LinkGate,
    connection: RedisConnection,
    target: LinkTarget,
    subscribed: HashSet<WorkspaceId>,
    refused: HashMap<WorkspaceId, String>,
    /// The server rejects the subscription to the node's probes.
    probe_refused: bool,
    /// The server rejects the subscription to the control channel.
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

    /// Returns the number of subscribed workspaces.
    pub(super) fn subscribed(&self) -> usize {
        self.subscribed.len()
    }

    /// Checks that the server works, then subscribes to all desired workspaces.
    ///
    /// A server that loads its data or has lost its primary accepts subscriptions too. No client
    /// may get a `connected` event then.
    pub(super) async fn begin(&mut self, probes: &mut Probes<'_>) -> Result<(), Lost> {
        self.ping().await?;
        self.read_log().await?;
        self.subscribe_probe().await?;
        probes.begin().await?;
        self.subscribe_control().await?;
        let wanted = self.bus.desired_subscriptions.take_all();
        self.subscribe(&wanted).await
    }

    /// Applies changes of the desired subscriptions and sends pings, until the link is lost.
    pub(super) async fn run(&mut self) -> Lost {
        let mut ping = tokio::time::interval(self.bus.config.ping_seconds.duration());
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut poll = tokio::time::interval(self.bus.config.sentinel.poll_seconds.duration());
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let outcome = tokio::select! {
                _ = ping.tick() => self.ping().await,
                _ = poll.tick(), if self.target.primary.is_some() => self.check_primary().await,
                () = self.bus.desired_subscriptions.changed() => self.apply_changes().await,
            };
            if let Err(lost) = outcome {
                return lost;
            }
        }
    }

    /// Applies the changes of the desired subscriptions.
    async fn apply_changes(&mut self) -> Result<(), Lost> {
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
            let channels: Vec<_> =
                chunk.iter().map(|workspace| self.bus.channels.workspace(workspace)).collect();
            self.connection.unsubscribe(&channels).await.map_err(lost)?;
        }
        self.subscribe(&wanted).await
    }

    /// Subscribes to workspaces. The gate confirms each one; a rejected one is reported here.
    async fn subscribe(&mut self, workspaces: &[WorkspaceId]) -> Result<(), Lost> {
        for chunk in workspaces.chunks(CHUNK) {
            let channels: Vec<_> =
                chunk.iter().map(|workspace| self.bus.channels.workspace(workspace)).collect();
            match self.connection.subscribe(&channels).await {
                Ok(()) => {
                    for workspace in chunk {
                        self.refused.remove(workspace);
                        self.subscribed.insert(workspace.clone());
                    }
                }
                // One forbidden channel makes the server reject the whole command: find out which.
                Err(error) if is_forbidden_command(&error) => self.subscribe_one_by_one(chunk).await?,
                Err(error) => return Err(lost(error)),
            }
        }
        let last = self.refused.values().next().map(|reason| (self.refused.len(), reason.clone()));
        self.bus.state.set_refused(last);
        Ok(())
    }

    async fn subscribe_one_by_one(&mut self, workspaces: &[WorkspaceId]) -> Result<(), Lost> {
        for workspace in workspaces {
            match self.connection.subscribe(self.bus.channels.workspace(workspace)).await {
                Ok(()) => {
                    self.refused.remove(workspace);
                    self.subscribed.insert(workspace.clone());
                }
                Err(error) if is_forbidden_command(&error) => {
                    let reason = describe(&error);
                    self.log_refusal(&self.bus.channels.workspace(workspace), &reason);
                    self.link_gate.reject(workspace, &reason);
                    self.refused.insert(workspace.clone(), reason);
                }
                Err(error) => return Err(lost(error)),
            }
        }
        Ok(())
    }

    /// Subscribes to the node's probes. After a rejection, each ping tries again, because the
    /// server does not report a new right.
    async fn subscribe_probe(&mut self) -> Result<(), Lost> {
        let refused = match self.connection.subscribe(self.bus.channels.probe()).await {
            Ok(()) => None,
            Err(error) if is_forbidden_command(&error) => Some(describe(&error)),
            Err(error) => return Err(lost(error)),
        };
        if let (Some(reason), false) = (&refused, self.probe_refused) {
            self.log_refusal(self.bus.channels.probe(), reason);
        }
        self.probe_refused = refused.is_some();
        self.bus.state.set_subscription_refused(refused);
        Ok(())
    }

    /// Subscribes to the control channel. After a rejection, each ping tries again.
    async fn subscribe_control(&mut self) -> Result<(), Lost> {
        let channel = self.bus.channels.control();
        let refused = match self.connection.subscribe(channel).await {
            Ok(()) => None,
            Err(error) if is_forbidden_command(&error) => Some(describe(&error)),
            Err(error) => return Err(lost(error)),
        };
        if let (Some(reason), false) = (&refused, self.control_refused) {
            tracing::warn!(
                channel,
                reason,
                "Redis rejects the subscription to the control channel: disconnects do not reach this node; give the user access, as in `ACL SETUSER … &{channel}`"
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
                "Redis rejects a subscription: give the user access to the channels, as in `ACL SETUSER … &{}*`; `tidings check` shows more",
                self.bus.config.channel_prefix
            );
        }
    }

    async fn ping(&mut self) -> Result<(), Lost> {
        let asked = Instant::now();
        match redis::cmd("PING").query_async::<Value>(&mut self.connection).await {
            Ok(_) => {}
            // These errors are replies, so the link works. A running script (BUSY) delays
            // publications only.
            Err(error)
                if is_forbidden_command(&error) || matches!(error.code(), Some("BUSY" | "MISCONF")) => {}
            Err(error) if error.is_timeout() => {
                return Err(Lost(format!(
                    "no reply to a ping within {:.1} s",
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
            self.bus.state.set_received();
        }
        Ok(())
    }

    /// Checks that the server is still the primary. A primary that is disconnected from the other
    /// servers keeps its clients and does not learn of its successor.
    async fn check_primary(&mut self) -> Result<(), Lost> {
        self.bus.connector.confirm(&self.target).await.map_err(Lost)?;
        self.check_role().await
    }

    /// Checks that the server reports itself as a primary. A demoted server keeps its clients
    /// connected and reports the change only on request.
    async fn check_role(&mut self) -> Result<(), Lost> {
        let server = ServerIdentity::ask_role(&mut self.connection).await.map_err(lost)?;
        self.target.check(&server).map_err(|error| Lost(error.to_string()))
    }

    /// Reads a log over the link for commands. It is the empty log of the node's probe channel. An
    /// error of the server other than a temporary one counts as success.
    async fn read_log(&self) -> Result<(), Lost> {
        let mut read = redis::cmd("XREVRANGE");
        read.arg(self.bus.channels.probe()).arg("+").arg("-").arg("COUNT").arg(1);
        match self.bus.commands.ask::<Value>(&read).await {
            Err(error) if error.is_io_error() || is_temporary(&error) => Err(lost(error)),
            _ => Ok(()),
        }
    }
}

/// Returns whether the server rejects this one command for lack of a right, so that the link still
/// works.
pub(super) fn is_forbidden_command(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

#[expect(clippy::needless_pass_by_value, reason = "passed to map_err")]
fn lost(error: RedisError) -> Lost {
    if error.is_timeout() {
        Lost("the server did not reply in time".to_owned())
    } else {
        Lost(describe(&error))
    }
}
