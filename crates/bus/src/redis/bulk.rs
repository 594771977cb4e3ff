//! Publishing many events at a time, for `tidings bench`: a server is kept busy by one connection, and the order in each
//! workspace is that in which the events are given.

use std::time::Duration;

use redis::{Pipeline, RedisError, RedisResult, Script, Value};

use super::connect::{ConnectError, Connector, LinkTarget, describe};
use super::connection::RedisConnection;
use super::publisher::PUBLISH_SCRIPT;
use crate::settings::{RedisConfig, RetentionConfig};
use tidings_event::workspace::WorkspaceId;

/// How long the logs that are written stay: they are of no use when they were measured.
const LOG_SECONDS: u64 = 600;

/// How events are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkWay {
    /// By `PUBLISH`: they stand in no log.
    Live,
    /// By the publish script: logged and announced in one step.
    Durable,
}

/// A connection that publishes.
pub struct BulkPublisher {
    connector: Connector,
    target: LinkTarget,
    timeout: Duration,
    /// `None` after it was lost.
    connection: Option<RedisConnection>,
    script: Script,
    prefix: String,
    log_events: usize,
    way: BulkWay,
}

impl BulkPublisher {
    /// Connects, and sees that the server answers.
    ///
    /// Takes at most the configured timeouts.
    ///
    /// # Errors
    ///
    /// The address is none, or the server cannot be reached, or does not let us in.
    pub async fn connect(
        config: &RedisConfig,
        retention: &RetentionConfig,
        way: BulkWay,
    ) -> Result<Self, ConnectError> {
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
        let prepared = publisher.prepare(&mut connection).await;
        prepared.map_err(|error| ConnectError::Server(describe(&error)))?;
        Ok(publisher)
    }

    /// Publishes events in their order, and answers for each whether it was taken, or what was said instead. Where the
    /// connection is lost it is not known which of them were taken; they all count as failed, and the next call connects
    /// again.
    ///
    /// Dropping the future leaves it open which of them are published.
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
            Ok(_) => vec![Err("the server answered less than it was asked".to_owned()); events.len()],
            Err(error) => vec![Err(describe(&error)); events.len()],
        }
    }

    /// How many times logs were read (`XRANGE`) since the server began to count; `None` where it does not say, as the embedded
    /// bus and servers that do not let us ask.
    pub async fn xranges(&mut self) -> Option<u64> {
        let mut info = redis::cmd("INFO");
        let mut connection = self.connection().await.ok()?;
        let text: String = info.arg("commandstats").query_async(&mut connection).await.ok()?;
        // A server that counts names the commands that it was sent.
        text.contains("cmdstat_").then(|| calls(&text, "xrange"))
    }

    /// Makes the script known, or at least sees that the server answers.
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

    /// The connection, made if there is none.
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

/// How often a command was called, by `INFO commandstats`.
fn calls(commandstats: &str, command: &str) -> u64 {
    let start = format!("cmdstat_{command}:calls=");
    let line = commandstats.lines().find_map(|line| line.strip_prefix(&start));
    line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_by_their_command() {
        let text = "# Commandstats\r\ncmdstat_xrevrange:calls=9,usec=1\r\ncmdstat_xrange:calls=12,usec=40,usec_per_call=3.3\r\n";
        assert_eq!((calls(text, "xrange"), calls(text, "xadd")), (12, 0));
    }
}
