//! The way to run a command: over the link to one server, or at the server of its slot.

use redis::{Cmd, FromRedisValue, Pipeline, RedisResult, Value};

/// Runs commands, each within a bounded time.
pub(super) trait CommandRunner: Sync {
    /// Runs one command. It succeeds or fails within the timeout, however many attempts it takes.
    fn ask<T: FromRedisValue>(&self, command: &Cmd) -> impl Future<Output = RedisResult<T>> + Send;

    /// Runs several reads in one round trip, within the same timeout. An error of one command is
    /// one of the replies.
    fn ask_all(
        &self,
        pipeline: &Pipeline,
    ) -> impl Future<Output = RedisResult<Vec<RedisResult<Value>>>> + Send;
}
