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

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub use publication::{EVENTS_MAX, IdempotencyKey, IdempotencyKeyError, Item, Publication, Published};
pub use state::{BusState, LinkState, StateCell};
pub use store::{Store, StoreError};

use tidings_event::BusHandler;
use tidings_event::log::{LogError, LogPage, Span};
use tidings_event::workspace::WorkspaceId;

/// A source of events and a place to publish them.
pub trait Bus: Store + std::fmt::Debug + Send + Sync + 'static {
    /// Keeps the subscriptions in line with the interest and delivers to the feed, until it is told to stop.
    fn run(
        self: Arc<Self>,
        bus_handler: Arc<dyn BusHandler>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()>;

    /// Publishes durably: events are logged, then announced. Answers their ids, in order.
    ///
    /// # Errors
    ///
    /// [`PublishError`]. Unless it is [`PublishError::Refused`] the event may have been published all the same.
    fn publish<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        publication: Publication,
    ) -> BoxFuture<'a, Result<Published, PublishError>>;

    /// Reads a part of a workspace's log, at most `count` entries of it.
    ///
    /// # Errors
    ///
    /// [`LogError`], within a bounded time.
    fn read_log<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        span: Span,
        count: usize,
    ) -> BoxFuture<'a, Result<LogPage, LogError>>;

    /// Marks a workspace as one that carries live events, for all nodes: until `slack` from now by the clock of the bus, and
    /// beyond the newest entry of the log. Answers the mark that stands then, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`LogError`], within a bounded time.
    fn mark_live<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        slack: Duration,
    ) -> BoxFuture<'a, Result<u64, LogError>>;

    /// What is known of the link now.
    fn state(&self) -> BusState;
}

/// Why an event was not published, or not surely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The bus cannot be reached, or did not answer in time.
    #[error("the bus cannot be reached: {0}")]
    Unavailable(String),
    /// The bus takes no such event now, and published nothing; trying again later helps.
    #[error("nothing was published: {0}")]
    Busy(String),
    /// The bus answered with an error.
    #[error("the bus refused the event: {0}")]
    Refused(String),
}
