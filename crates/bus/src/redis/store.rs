//! The tickets and bans that nodes share in Redis, at keys that only nodes need.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};

use super::channel::Channels;
use super::connect::{describe, is_temporary};
use super::runner::CommandRunner;
use super::shared_set;
use crate::{SetChange, StoreError};

/// Limits the stored bans, so that one command reads all of them within its timeout.
const BANS_MAX: usize = 20_000;

/// Returns and deletes a value in one step, so that one node gets it. From Redis 6.2 on, GETDEL
/// would suffice.
const TAKE: &str =
    "local value = redis.call('GET', KEYS[1]) if value then redis.call('DEL', KEYS[1]) end return value";

/// Adds a ban with its end. Deletes bans that have ended and, beyond a number, those that end
/// first. The key expires with its last ban.
const PUT_BAN: &str = "
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[4]))
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], last[2])";

/// Stores a value that one node can take.
pub(super) async fn put_once(
    commands: &impl CommandRunner,
    channels: &Channels,
    name: &str,
    value: &[u8],
    lifetime: Duration,
) -> Result<(), StoreError> {
    let mut set = redis::cmd("SET");
    let milliseconds = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).max(1);
    set.arg(channels.one_time(name)).arg(value).arg("NX").arg("PX").arg(milliseconds);
    ask::<Option<()>>(commands, &set).await.map(|_| ())
}

/// Returns and deletes a value.
pub(super) async fn take(
    commands: &impl CommandRunner,
    channels: &Channels,
    name: &str,
) -> Result<Option<Bytes>, StoreError> {
    let mut take = redis::cmd("EVAL");
    take.arg(TAKE).arg(1).arg(channels.one_time(name));
    Ok(ask::<Option<Vec<u8>>>(commands, &take).await?.map(Bytes::from))
}

/// Returns a value without deleting it.
pub(super) async fn read(
    commands: &impl CommandRunner,
    channels: &Channels,
    name: &str,
) -> Result<Option<Bytes>, StoreError> {
    let mut get = redis::cmd("GET");
    get.arg(channels.one_time(name));
    Ok(ask::<Option<Vec<u8>>>(commands, &get).await?.map(Bytes::from))
}

/// Stores a control command with a ban until the ban's end.
pub(super) async fn put_ban(
    commands: &impl CommandRunner,
    channels: &Channels,
    command: &[u8],
    until: SystemTime,
) -> Result<(), StoreError> {
    let mut put = redis::cmd("EVAL");
    put.arg(PUT_BAN).arg(1).arg(channels.bans()).arg(command);
    put.arg(milliseconds(until)).arg(milliseconds(SystemTime::now())).arg(BANS_MAX);
    ask::<Value>(commands, &put).await.map(|_| ())
}

/// Returns the commands whose bans have not ended, each with the ban's end.
pub(super) async fn list_bans(
    commands: &impl CommandRunner,
    channels: &Channels,
) -> Result<Vec<(Bytes, SystemTime)>, StoreError> {
    let mut list = redis::cmd("ZRANGEBYSCORE");
    list.arg(channels.bans()).arg(milliseconds(SystemTime::now())).arg("+inf").arg("WITHSCORES");
    let bans: Vec<(Vec<u8>, f64)> = ask(commands, &list).await?;
    // Other programs can write scores to Redis that are not times.
    let moment = |score: f64| UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(score / 1000.0).ok()?);
    Ok(bans.into_iter().filter_map(|(command, score)| Some((Bytes::from(command), moment(score)?))).collect())
}

/// Tries the commands of this file and of shared sets on a key that expires within a second.
pub(super) async fn examine(commands: &impl CommandRunner, channels: &Channels) -> RedisResult<()> {
    let key = channels.one_time("check");
    let (now, soon) = (SystemTime::now(), SystemTime::now() + Duration::from_secs(1));
    let mut put = redis::cmd("EVAL");
    put.arg(PUT_BAN).arg(1).arg(&key).arg("").arg(milliseconds(soon)).arg(milliseconds(now)).arg(1);
    let member = Bytes::from_static(b"check");
    let change = SetChange { remove: member.clone(), add: member, lifetime: Duration::from_secs(1) };
    for command in [
        redis::cmd("SET").arg(&key).arg("").arg("PX").arg(1000),
        redis::cmd("GET").arg(&key),
        redis::cmd("EVAL").arg(TAKE).arg(1).arg(&key),
        &mut put,
        redis::cmd("ZRANGEBYSCORE").arg(&key).arg(0).arg("+inf"),
        &mut shared_set::change_command(&key, &change),
        &mut shared_set::list_command(&key),
    ] {
        commands.ask::<Value>(command).await?;
    }
    Ok(())
}

fn milliseconds(moment: SystemTime) -> u64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) async fn ask<T: redis::FromRedisValue>(
    commands: &impl CommandRunner,
    command: &Cmd,
) -> Result<T, StoreError> {
    commands.ask(command).await.map_err(|error| store_error(&error))
}

fn store_error(error: &RedisError) -> StoreError {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension if !is_temporary(error) => {
            StoreError::Refused(describe(error))
        }
        _ => StoreError::Unavailable(describe(error)),
    }
}
