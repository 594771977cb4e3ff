//! Publication of many events at a time, for `tidings bench`. One connection is enough to load a
//! server, and the events of each workspace keep their order.

use std::time::Duration;

use redis::{Pipeline, RedisError, RedisResult, Script, Value};

use super::connect::{ConnectError, Connector, LinkTarget, describe};
use super::connection::RedisConnection;
use super::identity::{ServerIdentity, Unfit};
use super::script::PUBLISH_SCRIPT;
use crate::settings::{RedisConfig, RetentionConfig};
use tidings_event::workspace::WorkspaceId;

/// The time in seconds after which the logs of a measurement expire.
const LOG_SECONDS: u64 = 600;

/// The way in which events are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkWay {
    /// `PUBLISH`: the events are in no log.
    Live,
    /// The publish script, which adds events to the log and announces them in one step.
    Durable,
}

/// A connection that publishes many events.
pub struct BulkPublisher {
    connector: Connector,
    target: LinkTarget,
    timeout: Duration,
    /// `None` after the connection was lost.
    connection: Option<RedisConnection>,
    script: Script,
    prefix: String,
    log_events: usize,
    way: BulkWay,
}

impl BulkPublisher {
    /// Connects and checks that the server responds. Takes at most the configured timeouts.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is invalid, or if the server is unreachable, rejects the
    /// login, or is a node of a cluster.
    pub async fn connect(
        config: &RedisConfig,
        retention: &RetentionConfig,
        way: BulkWay,
    ) -> Result<Self, ConnectError> {
        if !config.cluster.nodes.is_empty() {
            return Err(ConnectError::NoMeasurement);
        }
        let connector = Connector::new(config)?;
        let target = connector.find().await?;
        let mut publisher = Self {
            connector,
            target,
            timeout: config.command_timeout_seconds.duration(),
            connection: None,
            script: Script::new(PUBLISH_SCRIPT),
            prefix: config.channel_prefix.clone(),
            log_events: retention.events,
            way,
        };
        let mut connection = publisher.connection().await?;
        if ServerIdentity::ask_role(&mut connection).await?.unfit() == Some(Unfit::ClusterNode) {
            return Err(ConnectError::NoMeasurement);
        }
        let prepared = publisher.prepare(&mut connection).await;
        prepared.map_err(|error| ConnectError::Server(describe(&error)))?;
        Ok(publisher)
    }

    /// Publishes events in order; returns for each success or the error text.
    ///
    /// If the connection is lost, all events count as failed, although the server may have
    /// published some. The next call connects again. If the future is dropped, some of the events
    /// may be published.
    pub async fn publish(&mut self, events: &[(&WorkspaceId, String)]) -> Vec<Result<(), String>> {
        let mut pipeline = Pipeline::with_capacity(events.len());
        for (workspace, payload) in events {
            let channel = format!("{}{workspace}", self.prefix);
            match self.way {
                BulkWay::Live => pipeline.cmd("PUBLISH").arg(channel).arg(payload),
                BulkWay::Durable => pipeline
                    .cmd("EVALSHA")
                    .arg(self.script.get_hash())
                    .arg(1)
                    .arg(channel)
                    .arg(payload)
                    .arg(self.log_events)
                    .arg(LOG_SECONDS),
            };
        }
        let mut connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => return vec![Err(error.to_string()); events.len()],
        };
        let answers: RedisResult<Vec<RedisResult<Value>>> =
            pipeline.ignore_errors().query_async(&mut connection).await;
        if answers.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
            self.connection = None;
        }
        match answers {
            Ok(answers) if answers.len() == events.len() => {
                answers.into_iter().map(|answer| answer.map(drop).map_err(|error| describe(&error))).collect()
            }
            Ok(_) => vec![Err("the server sent fewer replies than commands".to_owned()); events.len()],
            Err(error) => vec![Err(describe(&error)); events.len()],
        }
    }

    /// Returns the number of reads of logs (`XRANGE`) that the server has counted.
    ///
    /// Returns `None` if it does not count, as the embedded bus, or denies access.
    pub async fn xranges(&mut self) -> Option<u64> {
        let mut info = redis::cmd("INFO");
        let mut connection = self.connection().await.ok()?;
        let text: String = info.arg("commandstats").query_async(&mut connection).await.ok()?;
        // A server that counts lists the commands that it has received.
        text.contains("cmdstat_").then(|| calls(&text, "xrange"))
    }

    /// Loads the script, or at least checks that the server responds.
    async fn prepare(&self, connection: &mut RedisConnection) -> RedisResult<()> {
        let command = match self.way {
            BulkWay::Live => redis::cmd("PING"),
            BulkWay::Durable => {
                let mut load = redis::cmd("SCRIPT");
                load.arg("LOAD").arg(PUBLISH_SCRIPT);
                load
            }
        };
        command.query_async::<Value>(connection).await.map(drop)
    }

    /// Returns the connection and opens one if there is none.
    async fn connection(&mut self) -> Result<RedisConnection, ConnectError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let made = self.connector.command_connection(&self.target, self.timeout).await?;
        Ok(self.connection.insert(made).clone())
    }
}

impl std::fmt::Debug for BulkPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BulkPublisher").field("way", &self.way).finish_non_exhaustive()
    }
}

/// Returns the number of calls of a command, from `INFO commandstats`.
fn calls(commandstats: &str, command: &str) -> u64 {
    let start = format!("cmdstat_{command}:calls=");
    let line = commandstats.lines().find_map(|line| line.strip_prefix(&start));
    line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_command() {
        let text = "# Commandstats\r\ncmdstat_xrevrange:calls=9,usec=1\r\ncmdstat_xrange:calls=12,usec=40,usec_per_call=3.3\r\n";
        assert_eq!((calls(text, "xrange"), calls(text, "xadd")), (12, 0));
    }
}
