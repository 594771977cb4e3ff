//! The bus over a Redis server, or one that speaks its protocol: Redis 6.2 or later, Valkey, KeyDB, Dragonfly.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`connect`], [`credentials`] | how connections are made, and with which passwords and certificates |
//! | [`connection`], [`bounded`] | one connection, and the bound on what a server may send over it |
//! | [`farewell`] | the words of a server that closes a connection at once |
//! | [`sentinel`] | finding the primary by asking Sentinels |
//! | [`supervisor`] | makes the subscription link, and makes it again when it is lost, without end |
//! | [`session`] | the life of one link: subscriptions, changes, pings |
//! | [`link_gate`] | takes messages off the link into the feed |
//! | [`commands`] | the command connection |
//! | [`identity`] | what a server says of itself |
//! | [`probe`] | whether what goes out over one connection comes in over the other |
//! | [`publisher`], [`reader`] | publishing; reading logs |
//! | [`function`] | the publish script as a function of the server |
//! | [`bulk`] | publishing many events at a time, for `tidings bench` |
//! | [`access`] | what a server lets a node do, for `tidings check` |
//!
//! Subscriptions and commands have connections of their own, to one and the same primary: where they are found to be with
//! two servers, or with a replica, both are given up and the address is resolved anew. The subscription link is not left to the client library's
//! connection manager, which gives up after some attempts and does not report failed resubscriptions.

pub mod access;
mod backoff;
mod bounded;
pub mod bulk;
mod channel;
mod commands;
mod connect;
mod connection;
mod credentials;
mod farewell;
mod function;
mod identity;
mod link_gate;
mod probe;
mod publisher;
mod reader;
mod sentinel;
mod session;
mod store;
mod supervisor;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Bus, BusState, Publication, PublishError, Published, StateCell, Store, StoreError};
use crate::settings::{RedisConfig, RetentionConfig};
pub use bounded::TooLong;
use channel::{Channels, LogKeys};
use commands::Commands;
pub use connect::ConnectError;
use connect::Connector;
pub use identity::Unfit;
use publisher::Publisher;
use reader::LogReader;
use tidings_event::NodeId;
use tidings_event::log::{LogError, LogPage, Span};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{BusHandler, DesiredSubscriptions};

/// The bus over a Redis server.
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

impl RedisBus {
    /// A bus for a server that need not be there yet: nothing is connected before [`Bus::run`] or [`Bus::publish`].
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the configured address is not one.
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
        let publisher = Publisher::new(retention);
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
    /// Tries whether the mark of live events can be written, on a key of the node's own, once for each link. Where it cannot be, every
    /// workspace counts as one that carries live events.
    async fn learn_marks(&self) {
        let keys = LogKeys::new(self.channels.probe().to_owned());
        if let Err(LogError::Unreadable(reason)) =
            self.reader.mark_live(&self.commands, &keys, Duration::ZERO).await
        {
            tracing::warn!(
                reason,
                "Redis does not let this node mark workspaces that carry live events: all count as such; `tidings check` tells what to allow"
            );
        }
    }
}

impl Bus for RedisBus {
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
    fn keep<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { store::keep(self, name, &value, lifetime).await })
    }

    fn take<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(store::take(self, name))
    }

    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(store::read(self, name))
    }

    fn remember(&self, order: Bytes, until: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { store::remember(self, &order, until).await })
    }

    fn recall(&self) -> BoxFuture<'_, Result<Vec<(Bytes, SystemTime)>, StoreError>> {
        Box::pin(store::recall(self))
    }
}

impl std::fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBus").field("state", &self.state).finish_non_exhaustive()
    }
}
