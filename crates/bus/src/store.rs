//! The store that all nodes on a bus share: one-time values and bans.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};

/// Stores the values that all nodes on a bus share: values that one node takes once, and bans.
pub trait Store {
    /// Stores a value under a name for a time, so that one node can take it once.
    ///
    /// A name has the characters of a workspace id. If the name has a value already, the value
    /// stays and the call succeeds.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`], within a bounded time. The value may be stored all the same.
    fn put_once<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Returns and deletes a value, so that no other node gets it. `None` means that there is none,
    /// or no longer.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`], within a bounded time. The value may be deleted all the same.
    fn take<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// Returns a value without deleting it. `None` means that there is none, or no longer.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`], within a bounded time.
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// Stores a control command until its ban ends, for nodes that did not receive it. The same
    /// command again only changes the end. On a bus of one node, that node has received it, and
    /// nothing is stored.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`], within a bounded time. The command may be stored all the same.
    fn put_ban(&self, _command: Bytes, _until: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(ready(Ok(())))
    }

    /// Returns the stored control commands whose bans have not ended, each with the end of its ban.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`], within a bounded time.
    fn list_bans(&self) -> BoxFuture<'_, Result<Vec<(Bytes, SystemTime)>, StoreError>> {
        Box::pin(ready(Ok(Vec::new())))
    }
}

/// The reason for which an operation of the store failed or may have failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The bus is unreachable or did not reply in time. A retry may help.
    #[error("the bus cannot be reached: {0}")]
    Unavailable(String),
    /// The bus replied with an error, which an operator has to fix.
    #[error("the bus rejected the operation: {0}")]
    Refused(String),
}
