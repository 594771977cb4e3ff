//! The few things that nodes share beside events.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// What all nodes on a bus share: values that one of them takes once, and the orders of backends that are in force.
pub trait Store {
    /// Keeps a value under a name for a time, so that one node can take it once. Names are of the alphabet of workspace
    /// ids; a name that is taken keeps its value.
    ///
    /// # Errors
    ///
    /// [`StoreError`], within a bounded time; the value may have been kept all the same.
    fn keep<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Takes a value; nobody else gets it. `None` where there is none (any more).
    ///
    /// # Errors
    ///
    /// [`StoreError`], within a bounded time; the value may be gone all the same.
    fn take<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// Reads a value and leaves it for whoever takes it. `None` where there is none (any more).
    ///
    /// # Errors
    ///
    /// [`StoreError`], within a bounded time.
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// Remembers an order until a moment, for nodes that did not hear it. The same order again only moves the moment.
    ///
    /// # Errors
    ///
    /// [`StoreError`], within a bounded time.
    fn remember(&self, order: Bytes, until: SystemTime) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The orders that are remembered, each with its moment.
    ///
    /// # Errors
    ///
    /// [`StoreError`], within a bounded time.
    fn recall(&self) -> BoxFuture<'_, Result<Vec<(Bytes, SystemTime)>, StoreError>>;
}

/// Nothing was kept, taken, read or remembered, or not surely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The bus cannot be reached, or did not answer in time; trying again may help.
    #[error("the bus cannot be reached: {0}")]
    Unavailable(String),
    /// The bus answered with an error; somebody has to do something about it.
    #[error("the bus refused: {0}")]
    Refused(String),
}
