//! How connections to the server are made.

use std::sync::Arc;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo,
    RedisError,
};

use super::bounded::{Bound, TooLong};
use super::connection::{ConnectionOpenError, RedisConnection};
use super::credentials::{CredentialsError, RedisCredentials};
use super::farewell;
use super::identity::{ServerIdentity, Unfit};
use super::sentinel::{Primary, Sentinels};
use crate::settings::RedisConfig;

/// Idle time after which TCP probes the server. The pings find a dead link sooner; this is for the command connection.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// A connection to the server cannot be prepared or made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The address is not one. Its text is left out, as it may hold a password.
    #[error(
        "redis.url is not a Redis address: expected redis://[user:password@]host:port, rediss://… for TLS, or redis+unix:///path"
    )]
    Address,
    /// The address of a Sentinel is not one.
    #[error("redis.sentinel.nodes has something that is not an address such as redis://host:26379")]
    SentinelAddress,
    /// A file of passwords or certificates cannot be used.
    #[error(transparent)]
    RedisCredentials(#[from] CredentialsError),
    /// The server is of a kind that cannot be the bus.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Sentinels name a server that is no primary.
    #[error("{0} is no primary, by its own word")]
    Demoted(String),
    /// The connection for commands came to another server than the one for events.
    #[error("the address leads to two servers: see that all connections go to the primary")]
    OtherServer,
    /// The server, or something else at its address, sends an answer that is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The server cannot be reached, or does not let us in.
    #[error("{0}")]
    Server(String),
}

impl From<ConnectionOpenError> for ConnectError {
    fn from(error: ConnectionOpenError) -> Self {
        match error {
            ConnectionOpenError::TooLong(error) => error.into(),
            ConnectionOpenError::Redis(error) => error.into(),
        }
    }
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::RESP3NotSupported => Self::Unfit(Unfit::Old),
            _ => Self::Server(describe(&error)),
        }
    }
}

/// What an error of the server or of the link says, fit to be shown.
pub(super) fn describe(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    }
}

/// The errors of a server that refuses because of the state it is in, and not because of what was asked: it is loading its data, is in
/// the middle of a failover or of a rotation of passwords, runs somebody's long script, has no memory left, cannot write to its disk,
/// or has handed the key to another server. It decides so before the first write, so nothing was done.
const PASSING: [&str; 13] = [
    "LOADING",
    "MASTERDOWN",
    "NOREPLICAS",
    "READONLY",
    "OOM",
    "MISCONF",
    "MOVED",
    "ASK",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "NOAUTH",
    "WRONGPASS",
];

/// Whether an error is one of those that pass, and says that nothing was done.
pub(super) fn is_passing(error: &RedisError) -> bool {
    PASSING.iter().any(|code| is_code(error, code))
}

/// Whether the server takes no writes because it is a replica.
pub(super) fn is_readonly(error: &RedisError) -> bool {
    is_code(error, "READONLY")
}

/// Whether the server does not know the user of a connection any more.
pub(super) fn is_unauthenticated(error: &RedisError) -> bool {
    is_code(error, "NOAUTH") || is_code(error, "WRONGPASS")
}

/// Whether an error has this code. Scripts on Redis 6 wrap what their commands say.
fn is_code(error: &RedisError, code: &str) -> bool {
    let wrapped = |detail: &str| {
        detail
            .match_indices(code)
            .any(|(at, _)| detail[..at].ends_with(": -") && detail[at + code.len()..].starts_with(' '))
    };
    error.code() == Some(code) || error.detail().is_some_and(wrapped)
}

/// A server to connect to.
#[derive(Debug, Clone)]
pub(super) struct LinkTarget {
    info: ConnectionInfo,
    /// Where it is, if Sentinels said so.
    pub(super) primary: Option<Primary>,
}

impl LinkTarget {
    /// Whether a server that says this of itself can be the bus.
    pub(super) fn check(&self, server: &ServerIdentity) -> Result<(), ConnectError> {
        match (server.unfit(), &self.primary) {
            (None, _) => Ok(()),
            (Some(Unfit::Replica), Some(primary)) => Err(ConnectError::Demoted(primary.to_string())),
            (Some(unfit), _) => Err(unfit.into()),
        }
    }
}

/// Makes connections of the configured kind.
#[derive(Debug)]
pub(super) struct Connector {
    /// What all connections have in common; with Sentinels, without the address.
    info: ConnectionInfo,
    credentials: RedisCredentials,
    sentinels: Option<Sentinels>,
    bound: Arc<Bound>,
    connect_timeout: Duration,
    ping_timeout: Duration,
}

impl Connector {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, ConnectError> {
        // With Sentinels the address may give user, password and TLS, and its host does not count.
        let url = if config.url.is_empty() { "redis://primary" } else { config.url.reveal() };
        let info = url.into_connection_info().map_err(|_| ConnectError::Address)?;
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(
            TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3),
        );
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(config.silence_max());
        // RESP3 lets a subscribed connection answer pings, and confirms each channel in order with the messages.
        let settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("tidings", env!("CARGO_PKG_VERSION"));
        let info = info.set_tcp_settings(tcp).set_redis_settings(settings);
        let bound = Bound::new(config.reply_bytes);
        Ok(Self {
            info,
            credentials: RedisCredentials::of_server(config),
            sentinels: Sentinels::new(config, &bound)?,
            bound,
            connect_timeout: config.connect_timeout_seconds.duration(),
            ping_timeout: config.ping_timeout_seconds.duration(),
        })
    }

    /// Finds the server to connect to.
    pub(super) async fn find(&self) -> Result<LinkTarget, ConnectError> {
        let primary = match &self.sentinels {
            Some(sentinels) => Some(sentinels.primary().await?),
            None => None,
        };
        let info = match &primary {
            Some(primary) => self.info.clone().set_addr(primary.address_like(self.info.addr())),
            None => self.info.clone(),
        };
        Ok(LinkTarget { info, primary })
    }

    /// Whether a server that was found is still the one to be connected to: `Err` says why not. What cannot be asked
    /// now is left open.
    pub(super) async fn confirm(&self, target: &LinkTarget) -> Result<(), String> {
        let (Some(sentinels), Some(known)) = (&self.sentinels, &target.primary) else { return Ok(()) };
        match sentinels.primary().await {
            Ok(primary) if primary != *known => Err(format!(
                "the primary is now {primary} and no longer {known}, by the word of the Sentinels"
            )),
            _ => Ok(()),
        }
    }

    /// A connection for subscriptions. What the server pushes goes to `push`, in order, as it is read.
    pub(super) async fn subscription_link(
        &self,
        target: &LinkTarget,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<RedisConnection, ConnectError> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.ping_timeout))
            .set_push_sender(move |info| {
                push(info);
                Ok::<(), std::convert::Infallible>(())
            });
        self.make(target, config).await
    }

    /// A connection for commands, each of which gets its answer within a time or fails.
    pub(super) async fn command_connection(
        &self,
        target: &LinkTarget,
        timeout: Duration,
    ) -> Result<RedisConnection, ConnectError> {
        self.make(target, AsyncConnectionConfig::new().set_response_timeout(Some(timeout))).await
    }

    /// Makes a connection. Where the server closes it at once, the error is what the server says.
    async fn make(
        &self,
        target: &LinkTarget,
        config: AsyncConnectionConfig,
    ) -> Result<RedisConnection, ConnectError> {
        let login = self.credentials.login(&target.info).await?;
        match RedisConnection::open(&login, config, &self.bound, self.connect_timeout).await {
            Err(ConnectionOpenError::Redis(error))
                if error.is_connection_dropped() && !error.is_connection_refusal() =>
            {
                let said = farewell::of(target.info.addr()).await;
                Err(said.map_or_else(|| error.into(), ConnectError::Server))
            }
            made => Ok(made?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        let redis::Value::ServerError(error) = value else { panic!("{line} is no error") };
        error.into()
    }

    #[test]
    fn errors_of_a_server_that_cannot_now_are_passing() {
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "NOREPLICAS Not enough good replicas to write.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Redis is configured to save RDB snapshots",
            "MOVED 866 127.0.0.1:7001",
            "ASK 866 127.0.0.1:7001",
            "READONLY You can't write against a read only replica.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not allowed",
        ] {
            assert!(is_passing(&said(line)), "{line}");
        }
        for line in [
            "NOPERM this user has no permissions to run the 'xadd' command",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "ERR unknown command 'OOM '",
            "ERR Error running script (call to f_1): the text -OOM of an event",
        ] {
            assert!(!is_passing(&said(line)), "{line}");
        }
    }
}
