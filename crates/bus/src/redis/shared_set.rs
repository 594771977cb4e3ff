//! Shared sets: a sorted set for each, with the time at which a member expires as its score. The
//! clock is that of the server. The commands are those of bans and marks, so the access rule of a
//! node needs no others.

use bytes::Bytes;
use redis::Value;

use super::runner::CommandRunner;
use super::store::ask;
use crate::store::{MEMBER_BYTES_MAX, MEMBERS_MAX, SET_BYTES_MAX};
use crate::{SetChange, SetMembers, StoreError};

const CHANGE: &str = include_str!("change_set.lua");

/// The script that lists a shared set. Its key is followed by the most members, the most bytes of a
/// member, and the most bytes of all.
pub const LIST_SET_SCRIPT: &str = include_str!("list_set.lua");

/// Changes a set.
pub(super) async fn change(
    commands: &impl CommandRunner,
    key: &str,
    change: &SetChange,
) -> Result<(), StoreError> {
    ask::<Value>(commands, &change_command(key, change)).await.map(drop)
}

/// Lists a set.
pub(super) async fn list(commands: &impl CommandRunner, key: &str) -> Result<SetMembers, StoreError> {
    let (left_out, members): (usize, Vec<Vec<u8>>) = ask(commands, &list_command(key)).await?;
    Ok(SetMembers { members: members.into_iter().map(Bytes::from).collect(), left_out })
}

/// Returns the command that changes a set.
pub(super) fn change_command(key: &str, change: &SetChange) -> redis::Cmd {
    let lifetime = u64::try_from(change.lifetime.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut command = redis::cmd("EVAL");
    command.arg(CHANGE).arg(1).arg(key).arg(&change.remove[..]).arg(&change.add[..]);
    command.arg(lifetime).arg(MEMBERS_MAX);
    command
}

/// Returns the command that lists a set.
pub(super) fn list_command(key: &str) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(LIST_SET_SCRIPT).arg(1).arg(key);
    command.arg(MEMBERS_MAX).arg(MEMBER_BYTES_MAX).arg(SET_BYTES_MAX);
    command
}
