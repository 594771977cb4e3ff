//! What nodes share in Redis beside events. All of it lies under the channel prefix, and so under the workspaces' access
//! rule.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};

use super::RedisBus;
use super::channel::Channels;
use super::connect::{describe, is_passing};
use super::connection::RedisConnection;
use crate::StoreError;

/// The most orders that are remembered: as many as are read within the time for a command with ease.
const ORDERS_MAX: usize = 20_000;

/// Reads and removes a value in one step, so that one node gets it. GETDEL would do, from Redis 6.2 on.
const TAKE: &str =
    "local value = redis.call('GET', KEYS[1]) if value then redis.call('DEL', KEYS[1]) end return value";

/// Adds an order with the moment of its end, and removes those that have ended, and beyond a number those that end first. The
/// set ends with its last order.
const REMEMBER: &str = "
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[4]))
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], last[2])";

/// Keeps a value that one node can take.
pub(super) async fn keep(
    bus: &RedisBus,
    name: &str,
    value: &[u8],
    lifetime: Duration,
) -> Result<(), StoreError> {
    let mut set = redis::cmd("SET");
    let milliseconds = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).max(1);
    set.arg(bus.channels.kept(name)).arg(value).arg("NX").arg("PX").arg(milliseconds);
    ask::<Option<()>>(bus, &set).await.map(|_| ())
}

/// Takes a value.
pub(super) async fn take(bus: &RedisBus, name: &str) -> Result<Option<Bytes>, StoreError> {
    let mut take = redis::cmd("EVAL");
    take.arg(TAKE).arg(1).arg(bus.channels.kept(name));
    Ok(ask::<Option<Vec<u8>>>(bus, &take).await?.map(Bytes::from))
}

/// Reads a value, which stays.
pub(super) async fn read(bus: &RedisBus, name: &str) -> Result<Option<Bytes>, StoreError> {
    let mut get = redis::cmd("GET");
    get.arg(bus.channels.kept(name));
    Ok(ask::<Option<Vec<u8>>>(bus, &get).await?.map(Bytes::from))
}

/// Remembers an order until a moment.
pub(super) async fn remember(bus: &RedisBus, order: &[u8], until: SystemTime) -> Result<(), StoreError> {
    let mut remember = redis::cmd("EVAL");
    remember.arg(REMEMBER).arg(1).arg(bus.channels.orders()).arg(order);
    remember.arg(milliseconds(until)).arg(milliseconds(SystemTime::now())).arg(ORDERS_MAX);
    ask::<Value>(bus, &remember).await.map(|_| ())
}

/// The orders that have not ended.
pub(super) async fn recall(bus: &RedisBus) -> Result<Vec<(Bytes, SystemTime)>, StoreError> {
    let mut recall = redis::cmd("ZRANGEBYSCORE");
    recall.arg(bus.channels.orders()).arg(milliseconds(SystemTime::now())).arg("+inf").arg("WITHSCORES");
    let orders: Vec<(Vec<u8>, f64)> = ask(bus, &recall).await?;
    // Whoever is on Redis can write there what is no moment.
    let moment = |score: f64| UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(score / 1000.0).ok()?);
    Ok(orders.into_iter().filter_map(|(order, score)| Some((Bytes::from(order), moment(score)?))).collect())
}

/// Tries what the above needs, on keys of its own that end within a second.
pub(super) async fn examine(connection: &mut RedisConnection, channels: &Channels) -> RedisResult<()> {
    let kept = channels.kept("check");
    let (now, soon) = (SystemTime::now(), SystemTime::now() + Duration::from_secs(1));
    redis::cmd("SET").arg(&kept).arg("").arg("PX").arg(1000).query_async::<Value>(connection).await?;
    redis::cmd("GET").arg(&kept).query_async::<Value>(connection).await?;
    redis::cmd("EVAL").arg(TAKE).arg(1).arg(&kept).query_async::<Value>(connection).await?;
    let mut remember = redis::cmd("EVAL");
    remember.arg(REMEMBER).arg(1).arg(&kept).arg("").arg(milliseconds(soon)).arg(milliseconds(now)).arg(1);
    remember.query_async::<Value>(connection).await?;
    let mut recall = redis::cmd("ZRANGEBYSCORE");
    recall.arg(&kept).arg(0).arg("+inf").query_async::<Value>(connection).await.map(|_| ())
}

fn milliseconds(moment: SystemTime) -> u64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

async fn ask<T: redis::FromRedisValue>(bus: &RedisBus, command: &Cmd) -> Result<T, StoreError> {
    bus.commands.ask(command).await.map_err(|error| store_error(&error))
}

fn store_error(error: &RedisError) -> StoreError {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension if !is_passing(error) => {
            StoreError::Refused(describe(error))
        }
        _ => StoreError::Unavailable(describe(error)),
    }
}
