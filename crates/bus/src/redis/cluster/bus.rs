//! The bus over a cluster.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::super::access::Finding;
use super::super::channel::{Channels, LogKeys};
use super::super::connect::{ConnectError, Connector};
use super::super::publisher::{self, Publisher};
use super::super::reader::LogReader;
use super::super::script::PublishScript;
use super::super::{shared_set, store};
use super::control::ControlCopies;
use super::placement::Placement;
use super::refresher::Refresher;
use super::router::{Router, SlotCommands};
use super::servers::Servers;
use super::shard::{ClusterShard, ClusterShared, Returned};
use super::status;
use crate::settings::{RedisConfig, RetentionConfig};
use crate::{
    Bus, BusState, Publication, PublishError, Published, SetChange, SetMembers, SharedSet, StateCell, Store,
    StoreError,
};
use tidings_event::log::{LogError, LogFigures, LogPage, Span};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{BusHandler, DesiredSubscriptions, NodeId};
use tidings_metrics::Metrics;

/// How often the state of the bus is composed from its shards.
const STATE: Duration = Duration::from_millis(200);

/// Implements [`Bus`] and [`Store`] with a Redis Cluster.
pub struct ClusterBus {
    channels: Channels,
    servers: Arc<Servers>,
    router: Router,
    publisher: Publisher,
    reader: LogReader,
    desired: Arc<DesiredSubscriptions>,
    shards: Mutex<Vec<Arc<ClusterShard>>>,
    state: StateCell,
    config: RedisConfig,
    metrics: Arc<Metrics>,
}

impl ClusterBus {
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
        desired: Arc<DesiredSubscriptions>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ConnectError> {
        let servers = Arc::new(Servers::new(Arc::new(Connector::new(config)?), config));
        let refresher = Refresher::new(Arc::clone(&servers), config)?;
        let timeout = config.command_timeout_seconds.duration();
        Ok(Self {
            channels: Channels::new(&config.channel_prefix, &config.control_channel, node),
            router: Router::new(Arc::clone(&servers), refresher, timeout),
            servers,
            publisher: Publisher::new(retention, PublishScript::Cluster),
            reader: LogReader::new(retention),
            desired,
            shards: Mutex::default(),
            state: StateCell::new("redis-cluster"),
            config: config.clone(),
            metrics,
        })
    }

    fn of(&self, workspace: &WorkspaceId) -> (LogKeys, SlotCommands<'_>) {
        let keys = self.channels.log(workspace);
        let commands = self.router.of(&keys.log);
        (keys, commands)
    }

    fn of_bans(&self) -> SlotCommands<'_> {
        self.router.of(&self.channels.bans())
    }

    fn of_name(&self, name: &str) -> SlotCommands<'_> {
        self.router.of(&self.channels.one_time(name))
    }

    async fn follow(&self, handler: Arc<dyn BusHandler>) {
        let shared = Arc::new(ClusterShared {
            channels: self.channels.clone(),
            config: self.config.clone(),
            servers: Arc::clone(&self.servers),
            refresher: self.router.refresher.clone(),
            handler,
            returned: Returned::default(),
            control: ControlCopies::default(),
            metrics: Arc::clone(&self.metrics),
        });
        tracing::info!(
            "in a cluster nodes receive SPUBLISH and the publish script; they do not receive PUBLISH"
        );
        let mut placement = Placement::new(shared, &self.desired, &self.shards);
        tokio::select! {
            () = placement.run() => {}
            never = self.router.refresher.run() => match never {},
            () = self.compose() => {}
            () = self.try_mark() => {}
        }
    }

    /// Tries the right to write marks of live events. Never ends.
    async fn try_mark(&self) {
        let keys = LogKeys::new(self.channels.probe().to_owned());
        let commands = self.router.of(&keys.log);
        while let Err(error) = self.reader.mark_live(&commands, &keys, Duration::ZERO).await {
            if let LogError::Unreadable(reason) = error {
                tracing::warn!(
                    reason,
                    "Redis rejects the mark of live events: all workspaces count as mixed; `tidings check` shows what to allow"
                );
                break;
            }
            tokio::time::sleep(self.config.backoff_max_seconds.duration()).await;
        }
        std::future::pending().await
    }

    /// Composes the state of the bus from its shards. Never ends.
    async fn compose(&self) {
        let mut ticks = tokio::time::interval(STATE);
        loop {
            ticks.tick().await;
            let latest = self.router.refresher.latest();
            let shards = status::shards(&self.shards.lock(), latest.topology.as_deref());
            status::record(&self.metrics, &shards, latest.at.elapsed());
            let link = status::link(&shards, &latest);
            if self.state.snapshot().link == crate::LinkState::Up && link != crate::LinkState::Up {
                self.state.count_interruption();
            }
            self.state.set_link(link);
        }
    }
}

impl Bus for ClusterBus {
    fn set_password(&self, config: &RedisConfig) {
        self.servers.set_password(config);
    }

    fn examine(&self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(super::access::examine(self.servers.connector(), &self.config))
    }

    fn run(
        self: Arc<Self>,
        bus_handler: Arc<dyn BusHandler>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            tokio::select! {
                () = self.follow(bus_handler) => {}
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
            let (keys, mut commands) = self.of(workspace);
            if let Some(key) = publication.idempotency_key() {
                commands = commands.reserving(publisher::reserve_command(&keys, key));
            }
            self.publisher.publish(&commands, &keys, &publication).await
        })
    }

    fn read_log<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        span: Span,
        count: usize,
    ) -> BoxFuture<'a, Result<LogPage, LogError>> {
        Box::pin(async move {
            let (keys, commands) = self.of(workspace);
            self.reader.read(&commands, &keys, span, count).await
        })
    }

    fn log_figures<'a>(&'a self, workspace: &'a WorkspaceId) -> BoxFuture<'a, Result<LogFigures, LogError>> {
        Box::pin(async move {
            let (keys, commands) = self.of(workspace);
            self.reader.figures(&commands, &keys).await
        })
    }

    /// Any primary passes the command on to all others.
    fn send_control(&self, command: Bytes) -> BoxFuture<'_, Result<(), PublishError>> {
        Box::pin(async move { publisher::send(&self.of_bans(), self.channels.control(), &command).await })
    }

    fn mark_live<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        slack: Duration,
    ) -> BoxFuture<'a, Result<u64, LogError>> {
        Box::pin(async move {
            let (keys, commands) = self.of(workspace);
            self.reader.mark_live(&commands, &keys, slack).await
        })
    }

    fn state(&self) -> BusState {
        let latest = self.router.refresher.latest();
        let shards = status::shards(&self.shards.lock(), latest.topology.as_deref());
        status::compose(self.state.snapshot(), shards, &latest, Instant::now())
    }
}

impl Store for ClusterBus {
    fn put_once<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(
            async move { store::put_once(&self.of_name(name), &self.channels, name, &value, lifetime).await },
        )
    }

    fn take<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move { store::take(&self.of_name(name), &self.channels, name).await })
    }

    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move { store::read(&self.of_name(name), &self.channels, name).await })
    }

    fn put_ban(&self, command: Bytes, until: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { store::put_ban(&self.of_bans(), &self.channels, &command, until).await })
    }

    fn list_bans(&self) -> BoxFuture<'_, Result<Vec<(Bytes, SystemTime)>, StoreError>> {
        Box::pin(async move {
            let bans = store::list_bans(&self.of_bans(), &self.channels).await;
            self.state.note_bans(&bans);
            bans
        })
    }

    fn change_set(&self, set: SharedSet, change: SetChange) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = self.channels.set(set);
        Box::pin(async move { shared_set::change(&self.router.of(&key), &key, &change).await })
    }

    fn list_set(&self, set: SharedSet) -> BoxFuture<'_, Result<SetMembers, StoreError>> {
        let key = self.channels.set(set);
        Box::pin(async move { shared_set::list(&self.router.of(&key), &key).await })
    }
}

impl std::fmt::Debug for ClusterBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterBus").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
