//! The command connection.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::ConnectionManager;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value};

use super::connect::{ConnectError, Connector, Target};

/// A connection for commands, made when first used and made again when it was lost.
pub(super) struct Commands {
    connector: Arc<Connector>,
    timeout: Duration,
    /// The connection to the server that was found last; `None` while none was looked for since it was forgotten.
    current: Mutex<Option<ConnectionManager>>,
}

impl Commands {
    pub(super) fn new(connector: Arc<Connector>, timeout: Duration) -> Self {
        Self { connector, timeout, current: Mutex::new(None) }
    }

    /// Another server was found: commands go there from now on.
    pub(super) fn follow(&self, target: &Target) -> Result<(), ConnectError> {
        *self.current.lock() = Some(self.connector.command_link(target, self.timeout)?);
        Ok(())
    }

    /// The server is not the right one any more: it is looked for before the next command.
    pub(super) fn forget(&self) {
        *self.current.lock() = None;
    }

    /// One command, answered or failed within the timeout however many attempts the connection makes.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let asked = async {
            let mut connection = self.connection().await?;
            command.query_async(&mut connection).await
        };
        let outcome = tokio::time::timeout(self.timeout, asked)
            .await
            .unwrap_or_else(|_| Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))));
        if outcome.as_ref().is_err_and(|error| error.code() == Some("READONLY")) {
            // What was the primary is a replica now.
            self.forget();
        }
        outcome
    }

    /// Several commands in one round trip, under the same bound. An answer that is an error is one of the answers.
    pub(super) async fn ask_all(&self, pipeline: &Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        let asked = async {
            let mut connection = self.connection().await?;
            pipeline.query_async(&mut connection).await
        };
        tokio::time::timeout(self.timeout, asked)
            .await
            .unwrap_or_else(|_| Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))))
    }

    async fn connection(&self) -> RedisResult<ConnectionManager> {
        if let Some(connection) = self.current.lock().clone() {
            return Ok(connection);
        }
        let unreachable =
            |error: ConnectError| RedisError::from((ErrorKind::Io, "no server", error.to_string()));
        let target = self.connector.find().await.map_err(unreachable)?;
        self.follow(&target).map_err(unreachable)?;
        let connection = self.current.lock().clone();
        connection.ok_or_else(|| RedisError::from((ErrorKind::Io, "the server has just changed")))
    }
}
