//! The bus over a Redis server or a compatible one: Redis 6.2 or later, Valkey, KeyDB, Dragonfly.
//!
//! | part | contents |
//! | --- | --- |
//! | [`connect`], [`credentials`] | opening connections, with passwords and certificates |
//! | [`connection`], [`bounded`] | one connection, and the limit on replies |
//! | [`early_error`] | the error of a server that closes a connection at once |
//! | [`sentinel`] | the address of the primary, from Sentinels |
//! | [`supervisor`] | opens the link for events, again and again |
//! | [`session`] | one link for events: subscriptions, changes, pings |
//! | [`link_gate`] | passes the messages of a link on |
//! | [`commands`] | the link for commands |
//! | [`identity`] | the identity of a server |
//! | [`probe`] | checks that messages over one link arrive over the other |
//! | [`publisher`], [`reader`] | publishing, and reading logs |
//! | [`store`] | tickets and bans |
//! | [`function`] | the publish script as a function of the server |
//! | [`cluster`] | the bus over a Redis Cluster |
//! | [`runner`], [`script`] | the way to run commands, and the publish script |
//! | [`bulk`] | publishing many events at a time, for `tidings bench` |
//! | [`access`] | the rights of the Redis user, for `tidings check` |
//!
//! Events and commands have links of their own to one primary. If the links lead to two servers or
//! to a replica, the node gives up both and resolves the address again.
//!
//! The node opens the link for events itself. The client library's connection manager gives up
//! after some attempts and does not report failed subscriptions.

pub mod access;
mod backoff;
mod bounded;
pub mod bulk;
mod channel;
mod clock;
mod cluster;
mod commands;
mod connect;
mod connection;
mod credentials;
mod early_error;
mod function;
mod identity;
mod link_gate;
mod probe;
mod publisher;
mod reader;
mod runner;
mod script;
mod sentinel;
mod session;
pub mod shared_set;
mod store;
mod supervisor;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{
    Bus, BusState, Publication, PublishError, Published, SetChange, SetMembers, SharedSet, StateCell, Store,
    StoreError,
};
use crate::settings::{RedisConfig, RetentionConfig};
pub use bounded::ServerFault;
pub use channel::NODE_KEYS;
use channel::{Channels, LogKeys};
pub use cluster::ClusterBus;
use commands::Commands;
pub use connect::ConnectError;
use connect::Connector;
pub use identity::Unfit;
use publisher::Publisher;
use reader::LogReader;
use script::PublishScript;
use tidings_event::NodeId;
use tidings_event::log::{LogError, LogFigures, LogPage, Span};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{BusHandler, DesiredSubscriptions};
use tidings_metrics::Metrics;

/// Implements [`Bus`] and [`Store`] with a Redis server.
pub struct RedisBus {
    connector: Arc<Connector>,
    channels: Channels,
    commands: Commands,
    publisher: Publisher,
    reader: LogReader,
    desired_subscriptions: Arc<DesiredSubscriptions>,
    state: Arc<StateCell>,
    config: RedisConfig,
}

/// Opens the configured bus: one server, the primary of Sentinels, or a cluster. Does not connect.
/// Must run within a tokio runtime.
///
/// # Errors
///
/// Returns a [`ConnectError`] if a configured address is invalid.
pub fn open(
    config: &RedisConfig,
    retention: &RetentionConfig,
    node: NodeId,
    desired_subscriptions: Arc<DesiredSubscriptions>,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn Bus>, ConnectError> {
    if config.cluster.nodes.is_empty() {
        return Ok(Arc::new(RedisBus::new(config, retention, node, desired_subscriptions)?));
    }
    let metrics = Arc::clone(metrics);
    Ok(Arc::new(ClusterBus::new(config, retention, node, desired_subscriptions, metrics)?))
}

impl RedisBus {
    /// Creates a bus without connecting: [`Bus::run`] and the first command connect. Must run
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns a [`ConnectError`] if a configured address is invalid.
    pub fn new(
        config: &RedisConfig,
        retention: &RetentionConfig,
        node: NodeId,
        desired_subscriptions: Arc<DesiredSubscriptions>,
    ) -> Result<Self, ConnectError> {
        let connector = Arc::new(Connector::new(config)?);
        let channels = Channels::new(&config.channel_prefix, &config.control_channel, node);
        let commands = Commands::new(Arc::clone(&connector), config);
        let state = Arc::new(StateCell::new("redis"));
        let publisher = Publisher::new(retention, PublishScript::OneServer);
        let reader = LogReader::new(retention);
        Ok(Self {
            connector,
            channels,
            commands,
            publisher,
            reader,
            desired_subscriptions,
            state,
            config: config.clone(),
        })
    }
}

impl RedisBus {
    /// Tries to write the mark of live events of the node's probe channel, once for each link.
    /// Without the right to, every workspace counts as mixed.
    async fn try_mark(&self) {
        let keys = LogKeys::new(self.channels.probe().to_owned());
        if let Err(LogError::Unreadable(reason)) =
            self.reader.mark_live(&self.commands, &keys, Duration::ZERO).await
        {
            tracing::warn!(
                reason,
                "Redis rejects the mark of live events: all workspaces count as mixed; `tidings check` shows what to allow"
            );
        }
    }
}

impl Bus for RedisBus {
    fn set_password(&self, config: &RedisConfig) {
        self.connector.set_password(config);
    }

    fn examine(&self) -> BoxFuture<'_, Vec<access::Finding>> {
        Box::pin(access::examine_with(&self.connector, &self.config))
    }

    fn run(
        self: Arc<Self>,
        bus_handler: Arc<dyn BusHandler>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            tokio::select! {
                () = supervisor::run(&self, bus_handler) => {}
                () = stop.cancelled() => {}
            }
        })
    }

    fn publish<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        publication: Publication,
    ) -> BoxFuture<'a, Result<Published, PublishError>> {
        Box::pin(async move {
            self.publisher.publish(&self.commands, &self.channels.log(workspace), &publication).await
        })
    }

    fn read_log<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        span: Span,
        count: usize,
    ) -> BoxFuture<'a, Result<LogPage, LogError>> {
        Box::pin(
            async move { self.reader.read(&self.commands, &self.channels.log(workspace), span, count).await },
        )
    }

    fn log_figures<'a>(&'a self, workspace: &'a WorkspaceId) -> BoxFuture<'a, Result<LogFigures, LogError>> {
        Box::pin(async move { self.reader.figures(&self.commands, &self.channels.log(workspace)).await })
    }

    fn send_control(&self, command: Bytes) -> BoxFuture<'_, Result<(), PublishError>> {
        Box::pin(async move { publisher::send(&self.commands, self.channels.control(), &command).await })
    }

    fn mark_live<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        slack: Duration,
    ) -> BoxFuture<'a, Result<u64, LogError>> {
        Box::pin(
            async move { self.reader.mark_live(&self.commands, &self.channels.log(workspace), slack).await },
        )
    }

    fn state(&self) -> BusState {
        self.state.snapshot()
    }
}

impl Store for RedisBus {
    fn put_once<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { store::put_once(&self.commands, &self.channels, name, &value, lifetime).await })
    }

    fn take<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(store::take(&self.commands, &self.channels, name))
    }

    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(store::read(&self.commands, &self.channels, name))
    }

    fn put_ban(&self, command: Bytes, until: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { store::put_ban(&self.commands, &self.channels, &command, until).await })
    }

    fn list_bans(&self) -> BoxFuture<'_, Result<Vec<(Bytes, SystemTime)>, StoreError>> {
        Box::pin(async move {
            let bans = store::list_bans(&self.commands, &self.channels).await;
            self.state.note_bans(&bans);
            bans
        })
    }

    fn change_set(&self, set: SharedSet, change: SetChange) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { shared_set::change(&self.commands, &self.channels.set(set), &change).await })
    }

    fn list_set(&self, set: SharedSet) -> BoxFuture<'_, Result<SetMembers, StoreError>> {
        Box::pin(async move { shared_set::list(&self.commands, &self.channels.set(set)).await })
    }
}

impl std::fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBus").field("state", &self.state).finish_non_exhaustive()
    }
}
