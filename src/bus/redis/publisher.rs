//! Publishing over a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use redis::aio::ConnectionManager;
use redis::{ErrorKind, RedisError, RedisResult, Script, ServerErrorKind, Value};

use super::RedisBus;
use super::connect::{ConnectError, Connector, describe};
use super::session::is_refusal;
use crate::bus::PublishError;
use crate::event::EntryId;

/// The script that logs an event and announces it, in one step; also for `redis-cli --eval`.
pub(super) const PUBLISH_SCRIPT: &str = include_str!("../../../scripts/publish.lua");

/// The command connection.
pub(super) struct Publisher {
    connection: ConnectionManager,
    script: Script,
    timeout: Duration,
}

impl Publisher {
    pub(super) fn new(connector: &Connector, timeout: Duration) -> Result<Self, ConnectError> {
        Ok(Self {
            connection: connector.command_link(timeout)?,
            script: Script::new(PUBLISH_SCRIPT),
            timeout,
        })
    }

    /// Logs an event and announces it on the channel of the same name.
    pub(super) async fn publish(&self, channel: String, payload: Bytes) -> Result<EntryId, PublishError> {
        let mut evaluate = redis::cmd("EVALSHA");
        evaluate.arg(self.script.get_hash()).arg(1).arg(&channel).arg(&*payload);
        let outcome = match self.ask(&evaluate).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // The server has never seen the script, or has forgotten it: send it along.
                let mut evaluate = redis::cmd("EVAL");
                evaluate.arg(PUBLISH_SCRIPT).arg(1).arg(&channel).arg(&*payload);
                self.ask(&evaluate).await
            }
            outcome => outcome,
        };
        let id: String = outcome.map_err(|error| match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension if !is_passing(&error) => {
                PublishError::Refused(describe(&error))
            }
            _ => PublishError::Unavailable(describe(&error)),
        })?;
        id.parse().map_err(|_| {
            PublishError::Refused("the publish script answered something that is no id".to_owned())
        })
    }

    /// One command, within the timeout however many attempts the connection makes.
    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> RedisResult<T> {
        let mut connection = self.connection.clone();
        tokio::time::timeout(self.timeout, command.query_async(&mut connection))
            .await
            .unwrap_or_else(|_| Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))))
    }
}

/// Whether the server refuses because of the state it is in, and not because of what was asked: it is loading its data,
/// is in the middle of a failover, or runs somebody's long script.
fn is_passing(error: &RedisError) -> bool {
    matches!(error.code(), Some("LOADING" | "MASTERDOWN" | "READONLY" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY"))
}

/// Publishes a message to this very node again and again: only if it comes back is the node known to hear. Runs until
/// it is dropped.
pub(super) async fn probe(bus: &RedisBus) {
    let mut tick = tokio::time::interval(bus.config.probe_seconds.duration());
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(bus.channels.probe()).arg("probe");
        match bus.publisher.ask::<Value>(&publish).await {
            // Not allowed to publish, a node can still be sound; then answered pings have to do.
            Err(error) if is_refusal(&error) => bus.state.set_probe_refused(Some(describe(&error))),
            Err(error) => tracing::debug!(error = describe(&error), "a probe was not published"),
            Ok(_) => bus.state.set_probe_refused(None),
        }
    }
}
