//! The rights of a node's Redis user: `tidings check` tries them one after the other.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, Value};

use super::bounded::ServerFault;
use super::channel::{Channels, LogKeys};
use super::connect::{ConnectError, Connector, LinkTarget, describe};
use super::connection::RedisConnection;
use super::identity::ServerIdentity;
use super::reader;
use super::script::PUBLISH_SCRIPT;
use super::session::is_forbidden_command;
use super::store;
use crate::settings::RedisConfig;
use tidings_event::NodeId;

/// The result of one check, with the fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// The result.
    pub result: String,
    /// The fix; `None` if the check passed.
    pub fix: Option<String>,
}

impl Finding {
    /// Creates the result of a check that passed.
    #[must_use]
    pub fn good(check: &'static str, result: impl Into<String>) -> Self {
        Self { check, result: result.into(), fix: None }
    }

    pub(super) fn bad(check: &'static str, result: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, result: result.into(), fix: Some(fix.into()) }
    }
}

/// Connects as a node does and tries every right that a node needs. Keys that it writes expire
/// after a second.
///
/// Each step takes at most the configured timeouts.
pub async fn examine(config: &RedisConfig) -> Vec<Finding> {
    match Connector::new(config) {
        Err(error) => vec![Finding::bad("redis.url", error.to_string(), "correct redis.url")],
        Ok(connector) if !config.cluster.nodes.is_empty() => {
            super::cluster::access::examine(Arc::new(connector), config).await
        }
        Ok(connector) => examine_with(&connector, config).await,
    }
}

pub(super) async fn examine_with(connector: &Connector, config: &RedisConfig) -> Vec<Finding> {
    let channels = Channels::new(&config.channel_prefix, &config.control_channel, NodeId::random());
    let target = match connector.find().await {
        Ok(target) => target,
        Err(error) => return vec![unreachable(&error, config)],
    };
    let mut link = match connector.subscription_link(&target, |_| {}).await {
        Ok(link) => link,
        Err(error) => return vec![unreachable(&error, config)],
    };
    let server = match ServerIdentity::ask(&mut link).await {
        Ok(server) => server,
        Err(error) => return vec![unreachable(&error.into(), config)],
    };
    let mut findings = vec![Finding::good("connection", format!("{} responds", config.describe()))];
    findings.push(kind(&target, &server));
    // Other rights on an unsuitable server mean nothing.
    if server.unfit().is_some() {
        return findings;
    }
    let subscribed = link.subscribe(channels.probe()).await;
    findings.push(finding("subscribing", subscribed, config));
    let control = link.subscribe(channels.control()).await;
    findings.push(finding("subscribing to the control channel", control, config));
    let timeout = config.command_timeout_seconds.duration();
    let mut commands = match connector.command_connection(&target, timeout).await {
        Ok(commands) => commands,
        Err(error) => {
            findings.push(unreachable(&error, config));
            return findings;
        }
    };
    match ServerIdentity::ask(&mut commands).await {
        Ok(other) if server.differs_from(&other) || other.unfit().is_some() => {
            findings.push(Finding::bad(
                "one server",
                "two connections to the address reached two servers",
                "configure the address so that all connections reach the primary",
            ));
            return findings;
        }
        Ok(_) => {}
        Err(error) => findings.push(unreachable(&error.into(), config)),
    }
    let log = channels.probe();
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(log).arg("probe");
    findings.push(finding("publishing", ask(&mut commands, &publish).await, config));
    let mut durable = redis::cmd("EVAL");
    durable.arg(PUBLISH_SCRIPT).arg(1).arg(log).arg("{}").arg(1).arg(1);
    findings.push(finding("publishing durably", ask(&mut commands, &durable).await, config));
    let mut read = redis::cmd("XRANGE");
    read.arg(log).arg("-").arg("+").arg("COUNT").arg(1);
    findings.push(finding("reading the log", ask(&mut commands, &read).await, config));
    let keys = LogKeys::new(log.to_owned());
    let named = ask(&mut commands, &reader::name_command(&keys, 1)).await;
    findings.push(finding("keeping the epochs of logs", named, config));
    let second = Duration::from_secs(1);
    let marked = ask(&mut commands, &reader::mark_command(&keys, Duration::ZERO, second)).await;
    findings.push(finding("marking live events", marked, config));
    findings.push(finding(
        "sharing tickets, bans and nodes",
        store::examine(&commands, &channels).await,
        config,
    ));
    findings
}

/// Checks that the server is suitable as a bus.
fn kind(target: &LinkTarget, server: &ServerIdentity) -> Finding {
    const CHECK: &str = "server";
    match (target.check(server), &server.server) {
        (Err(ConnectError::Unfit(unfit)), _) => Finding::bad(CHECK, unfit.kind(), unfit.remedy()),
        (Err(error), _) => {
            Finding::bad(CHECK, error.to_string(), "wait until the Sentinels name another one")
        }
        (Ok(()), Some(name)) => Finding::good(CHECK, format!("{name}, which accepts writes")),
        (Ok(()), None) => Finding::good(CHECK, "its name and version are hidden"),
    }
}

async fn ask(connection: &mut RedisConnection, command: &Cmd) -> RedisResult<()> {
    command.query_async::<Value>(connection).await.map(|_| ())
}

pub(super) fn finding(check: &'static str, outcome: RedisResult<()>, config: &RedisConfig) -> Finding {
    match outcome {
        Ok(()) => Finding::good(check, "allowed"),
        Err(error) if is_forbidden(&error) => Finding::bad(check, describe(&error), access_rule(config)),
        Err(error) => Finding::bad(check, describe(&error), "read the error of the server, and its log"),
    }
}

fn unreachable(error: &ConnectError, config: &RedisConfig) -> Finding {
    if let ConnectError::Unfit(unfit) = error {
        return Finding::bad("server", unfit.kind(), unfit.remedy());
    }
    let result = format!("{}: {error}", config.describe());
    let text = error.to_string();
    let fix = if text.starts_with("no Sentinel") {
        "start the Sentinels, or correct redis.sentinel.nodes, redis.sentinel.primary, or the password in redis.sentinel.password_file"
    } else if text.contains("NOAUTH") {
        "the server requires a password: put it into redis.url, as in redis://:password@host:port, or into redis.password_file"
    } else if text.contains("WRONGPASS") {
        "the user or the password is wrong: correct redis.url, or the file at redis.password_file"
    } else if text.contains("CertificateRequired") {
        "the server requires a certificate: set redis.tls.cert and redis.tls.key"
    } else if matches!(error, ConnectError::Fault(ServerFault::TooLong { .. })) {
        "check that the address is that of a Redis, and that no event or log in it is larger than redis.reply_bytes"
    } else if text.contains(TOO_MANY_CLIENTS) {
        "raise maxclients of the server, or close clients that it does not need"
    } else {
        "start the server, or correct redis.url"
    };
    Finding::bad("connection", result, fix)
}

/// The error of Redis and compatible servers for a connection beyond `maxclients`.
const TOO_MANY_CLIENTS: &str = "max number of clients reached";

/// Returns whether the user lacks a right, itself or in a script. Errors of scripts have no code of
/// their own. The first text is that of Redis 6.2 and 7.0, the second that of later versions and of
/// Valkey.
fn is_forbidden(error: &RedisError) -> bool {
    const IN_SCRIPTS: [&str; 2] = ["The user executing the script can't", "ACL failure in script"];
    let in_script = |detail: &str| IN_SCRIPTS.iter().any(|text| detail.contains(text));
    is_forbidden_command(error) || error.detail().is_some_and(in_script)
}

/// Returns the access rule with all rights of a node. For one server it has no command that Redis 6
/// does not know, because a server rejects such a rule as a whole.
#[must_use]
pub fn access_rule(config: &RedisConfig) -> String {
    let (prefix, control) = (&config.channel_prefix, &config.control_channel);
    let of_cluster = if config.cluster.nodes.is_empty() {
        ""
    } else {
        " +ssubscribe +sunsubscribe +spublish '+cluster|nodes'; do so at each server of the cluster"
    };
    format!(
        "as an administrator, ACL SETUSER <user> resetchannels '~{prefix}*' '~{{{prefix}*' '~tidings/{prefix}*' '&{prefix}*' '&{control}' +subscribe +unsubscribe +publish +eval +evalsha \
         +xadd +xtrim +xlen +xrange +xrevrange '+xinfo|stream' +expire +get +set +time +del +zadd \
         +zrevrange +zrangebyscore +zremrangebyrank +zremrangebyscore +pexpireat +ping +hello{of_cluster}"
    )
}
