//! The source of events: the trait [`Bus`], and its implementation for [`redis`].
//!
//! Data flows out of the bus into a [`BusHandler`]. The hub writes the workspaces that it wants
//! into `DesiredSubscriptions`. That is a set, not a queue: changes to a workspace coalesce, and
//! the bus adjusts its subscriptions at its own pace. The crate `tidings-embedded` has the other
//! implementation.
//!
//! Read first: [`Bus`], [`Store`], [`StateCell`], [`redis::RedisBus`].
//!
//! This crate must never know the hub, streams, authentication or HTTP.

mod publication;
pub mod redis;
pub mod settings;
mod state;
mod store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use tokio_util::sync::CancellationToken;

pub use publication::{EVENTS_MAX, IdempotencyKey, IdempotencyKeyError, Item, Publication, Published};
pub use state::{BusState, ClusterState, LinkState, ShardState, StateCell};
pub use store::{
    MEMBER_BYTES_MAX, MEMBERS_MAX, SET_BYTES_MAX, SetChange, SetMembers, SharedSet, Store, StoreError,
};

use tidings_event::BusHandler;
use tidings_event::log::{LogError, LogFigures, LogPage, Span};
use tidings_event::workspace::WorkspaceId;

/// Delivers events, publishes events and reads logs.
pub trait Bus: Store + std::fmt::Debug + Send + Sync + 'static {
    /// Keeps the subscriptions equal to the desired ones and reports to `bus_handler`, until `stop`
    /// is cancelled.
    fn run(
        self: Arc<Self>,
        bus_handler: Arc<dyn BusHandler>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()>;

    /// Uses the passwords of a configuration for new connections. A bus without connections has
    /// none.
    fn set_password(&self, _config: &settings::RedisConfig) {}

    /// Tries every right that a node needs, over connections of its own; empty for a bus without
    /// rights. Keys that it writes expire after a second. Cancellation safe.
    fn examine(&self) -> BoxFuture<'_, Vec<redis::access::Finding>> {
        Box::pin(ready(Vec::new()))
    }

    /// Publishes durable events: adds them to the log, then announces them. Returns their ids, in
    /// order.
    ///
    /// # Errors
    ///
    /// Returns a [`PublishError`]. Only [`PublishError::Refused`] and [`PublishError::Busy`] mean
    /// that no event was published.
    fn publish<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        publication: Publication,
    ) -> BoxFuture<'a, Result<Published, PublishError>>;

    /// Reads a part of a workspace's log, at most `count` entries of it.
    ///
    /// # Errors
    ///
    /// Returns a [`LogError`], within a bounded time.
    fn read_log<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        span: Span,
        count: usize,
    ) -> BoxFuture<'a, Result<LogPage, LogError>>;

    /// Returns the size of a workspace's log.
    ///
    /// # Errors
    ///
    /// Returns a [`LogError`], within a bounded time.
    fn log_figures<'a>(&'a self, workspace: &'a WorkspaceId) -> BoxFuture<'a, Result<LogFigures, LogError>>;

    /// Publishes a command on the control channel, for all nodes.
    ///
    /// # Errors
    ///
    /// Returns a [`PublishError`], within a bounded time.
    fn send_control(&self, command: Bytes) -> BoxFuture<'_, Result<(), PublishError>>;

    /// Marks a workspace as mixed, for all nodes. Returns the resulting mark in milliseconds since
    /// the Unix epoch.
    ///
    /// The mark reaches `slack` beyond now, by the clock of the bus, and beyond the newest entry of
    /// the log.
    ///
    /// # Errors
    ///
    /// Returns a [`LogError`], within a bounded time.
    fn mark_live<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        slack: Duration,
    ) -> BoxFuture<'a, Result<u64, LogError>>;

    /// Returns the state of the link.
    fn state(&self) -> BusState;
}

/// The reason for which a publication failed or may have failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The bus is unreachable or did not reply in time. The events may have been published.
    #[error("the bus cannot be reached: {0}")]
    Unavailable(String),
    /// The bus accepts no events now and published none. A later retry helps.
    #[error("nothing was published: {0}")]
    Busy(String),
    /// The bus replied with an error and published no event.
    #[error("the bus rejected the event: {0}")]
    Refused(String),
}
