//! The store that all nodes on a bus share: one-time values, bans, and sets whose members expire.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};

use tidings_event::QuestionId;

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

    /// Changes a shared set. The new member expires by the clock of the bus. A set keeps
    /// [`MEMBERS_MAX`] members; beyond that, it drops those that expire first.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`], within a bounded time. The set may be changed all the same.
    fn change_set(&self, set: SharedSet, change: SetChange) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Returns the members of a shared set that have not expired, those that expire first at the
    /// beginning. The result is bounded by [`MEMBERS_MAX`], [`MEMBER_BYTES_MAX`] and
    /// [`SET_BYTES_MAX`], whatever another program has put into the set.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`], within a bounded time.
    fn list_set(&self, set: SharedSet) -> BoxFuture<'_, Result<SetMembers, StoreError>>;
}

/// Limits the members of a shared set.
pub const MEMBERS_MAX: usize = 1024;

/// Limits one member of a shared set, in bytes. A larger one is left out of every list.
pub const MEMBER_BYTES_MAX: usize = 64 * 1024;

/// Limits all members of one list together, in bytes.
pub const SET_BYTES_MAX: usize = 4 << 20;

/// A set that all nodes share. Each member expires by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SharedSet {
    /// The announcements of nodes.
    Nodes,
    /// The replies to a question.
    Replies(QuestionId),
}

impl std::fmt::Display for SharedSet {
    /// Writes the name, which is a part of the key in Redis.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nodes => f.write_str("nodes"),
            Self::Replies(question) => write!(f, "replies/{question}"),
        }
    }
}

/// A change of a shared set, in one step. An empty member is none.
#[derive(Debug, Clone, Default)]
pub struct SetChange {
    /// The member to remove.
    pub remove: Bytes,
    /// The member to add.
    pub add: Bytes,
    /// The time after which the new member expires.
    pub lifetime: Duration,
}

/// The members of a shared set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetMembers {
    /// The members.
    pub members: Vec<Bytes>,
    /// At least this number of members was left out, because they exceed a limit.
    pub left_out: usize,
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
