//! The command connection.

use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{Cmd, FromRedisValue, RedisError, RedisResult};

use super::connect::{ConnectError, Connector};

/// A connection for commands, made when first used and made again when it was lost.
pub(super) struct Commands {
    connection: ConnectionManager,
    timeout: Duration,
}

impl Commands {
    pub(super) fn new(connector: &Connector, timeout: Duration) -> Result<Self, ConnectError> {
        Ok(Self { connection: connector.command_link(timeout)?, timeout })
    }

    /// One command, answered or failed within the timeout however many attempts the connection makes.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let mut connection = self.connection.clone();
        tokio::time::timeout(self.timeout, command.query_async(&mut connection))
            .await
            .unwrap_or_else(|_| Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))))
    }
}
