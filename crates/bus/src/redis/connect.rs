//! Connections to the server.

use std::sync::Arc;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    PushInfo, RedisError,
};

use super::bounded::{Bound, ServerFault};
use super::cluster::ShardLink;
use super::connection::{ConnectionOpenError, RedisConnection};
use super::credentials::{CredentialsError, RedisCredentials};
use super::early_error;
use super::identity::{ServerIdentity, Unfit};
use super::sentinel::{Primary, Sentinels};
use crate::settings::RedisConfig;
use tidings_settings::SecretText;

/// The idle time after which TCP probes the server. Pings find a dead link sooner; this serves the
/// connection for commands.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The reason for which there is no connection to the server.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The address is invalid. The error does not contain it, because it may contain a password.
    #[error(
        "redis.url is not a Redis address: expected redis://[user:password@]host:port, rediss://… for TLS, or redis+unix:///path"
    )]
    Address,
    /// The address of a Sentinel is invalid.
    #[error("redis.sentinel.nodes has an item that is not an address such as redis://host:26379")]
    SentinelAddress,
    /// The address of a node of a cluster is invalid.
    #[error("redis.cluster.nodes has an item that is not an address such as redis://host:6379")]
    ClusterAddress,
    /// A file with a password or certificate is not usable.
    #[error(transparent)]
    RedisCredentials(#[from] CredentialsError),
    /// The server is of a kind that cannot be the bus.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The Sentinels name a server that is not a primary.
    #[error("the Sentinels name {0} as the primary, but it is a replica: wait for the end of the failover")]
    Demoted(String),
    /// The events of a measurement would need the server of each slot.
    #[error(
        "the server is a node of a Redis Cluster, where a measurement cannot publish: use `--publish http`"
    )]
    NoMeasurement,
    /// The connection for commands reached another server than the one for events.
    #[error("the address leads to two servers: configure it so that all connections reach the primary")]
    OtherServer,
    /// The server, or another program at its address, sends data that no Redis sends.
    #[error(transparent)]
    Fault(#[from] ServerFault),
    /// The server is unreachable or rejects the login.
    #[error("{0}")]
    Server(String),
}

impl From<ConnectionOpenError> for ConnectError {
    fn from(error: ConnectionOpenError) -> Self {
        match error {
            ConnectionOpenError::Fault(error) => error.into(),
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

/// Returns the text of an error of the server or the link, for output.
pub(super) fn describe(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    }
}

/// The errors with which a server rejects a command because of its own state.
///
/// The server loads its data, is in a failover or a rotation of passwords, or runs a long script.
/// Or it lacks memory, cannot write to its disk, or has moved the key to another server. It checks
/// this before the first write, so it has changed nothing.
const TEMPORARY: [&str; 13] = [
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

/// Returns whether an error is temporary; then the server has changed nothing.
pub(super) fn is_temporary(error: &RedisError) -> bool {
    TEMPORARY.iter().any(|code| is_code(error, code))
}

/// Returns whether the server rejects writes because it is a replica.
pub(super) fn is_readonly(error: &RedisError) -> bool {
    is_code(error, "READONLY")
}

/// Returns whether the server no longer knows the user of a connection.
pub(super) fn is_unauthenticated(error: &RedisError) -> bool {
    is_code(error, "NOAUTH") || is_code(error, "WRONGPASS")
}

/// Returns whether an error has this code. Scripts on Redis 6 wrap the errors of their commands.
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
    /// Further addresses of the same server.
    others: Vec<ConnectionAddr>,
    /// The server has to be a node of a cluster.
    is_of_cluster: bool,
    /// The address of the primary, if Sentinels named it.
    pub(super) primary: Option<Primary>,
}

impl LinkTarget {
    /// Checks that a server with this identity can be the bus.
    pub(super) fn check(&self, server: &ServerIdentity) -> Result<(), ConnectError> {
        if self.is_of_cluster {
            return server.unfit_for_cluster().map_or(Ok(()), |unfit| Err(unfit.into()));
        }
        match (server.unfit(), &self.primary) {
            (None, _) => Ok(()),
            (Some(Unfit::Replica), Some(primary)) => Err(ConnectError::Demoted(primary.to_string())),
            (Some(unfit), _) => Err(unfit.into()),
        }
    }
}

/// Returns the configured address. With Sentinels, the URL may give user, password and TLS; its
/// host is not used.
fn address(config: &RedisConfig) -> Result<ConnectionInfo, ConnectError> {
    let url = match config.cluster.nodes.first() {
        Some(node) => node.reveal(),
        None if config.url.is_empty() => "redis://primary",
        None => config.url.reveal(),
    };
    url.into_connection_info().map_err(|_| ConnectError::Address)
}

/// Opens connections of the configured kind.
#[derive(Debug)]
pub(super) struct Connector {
    /// The settings that all connections share; with Sentinels, without the address.
    info: ConnectionInfo,
    /// Further addresses of the server, for a node of a cluster.
    others: Vec<ConnectionAddr>,
    is_of_cluster: bool,
    credentials: RedisCredentials,
    sentinels: Option<Arc<Sentinels>>,
    bound: Arc<Bound>,
    connect_timeout: Duration,
    ping_timeout: Duration,
}

impl Connector {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, ConnectError> {
        let info = address(config)?;
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(
            TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3),
        );
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(config.silence_max());
        // With RESP3, a subscribed connection replies to pings and confirms each channel in order
        // with the messages.
        let settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("tidings", env!("CARGO_PKG_VERSION"));
        let info = info.set_tcp_settings(tcp).set_redis_settings(settings);
        let bound = Bound::new(config.reply_bytes);
        Ok(Self {
            info,
            others: Vec::new(),
            is_of_cluster: !config.cluster.nodes.is_empty(),
            credentials: RedisCredentials::of_server(config),
            sentinels: Sentinels::new(config, &bound)?.map(Arc::new),
            bound,
            connect_timeout: config.connect_timeout_seconds.duration(),
            ping_timeout: config.ping_timeout_seconds.duration(),
        })
    }

    /// Replaces the password by that of a configuration, for new connections, also of the
    /// connectors that [`at`](Self::at) returned. Open connections remain.
    pub(super) fn set_password(&self, config: &RedisConfig) {
        let Ok(info) = address(config) else { return };
        if let Some(password) = info.redis_settings().password() {
            self.credentials.set_password(SecretText::new(password));
        }
    }

    /// Returns a connector for another server of the cluster, with all its names and addresses.
    pub(super) fn at(&self, hosts: &[String], port: u16) -> Self {
        let address = |host: &String| Primary { host: host.clone(), port }.address_like(self.info.addr());
        let mut addresses: Vec<_> = hosts.iter().map(address).collect();
        let others = if addresses.is_empty() { Vec::new() } else { addresses.split_off(1) };
        let info = match addresses.pop() {
            Some(address) => self.info.clone().set_addr(address),
            None => self.info.clone(),
        };
        Self {
            info,
            others,
            is_of_cluster: self.is_of_cluster,
            credentials: self.credentials.clone(),
            sentinels: None,
            bound: Arc::clone(&self.bound),
            connect_timeout: self.connect_timeout,
            ping_timeout: self.ping_timeout,
        }
    }

    /// Returns the server to connect to.
    pub(super) async fn find(&self) -> Result<LinkTarget, ConnectError> {
        let primary = match &self.sentinels {
            Some(sentinels) => Some(sentinels.primary().await?),
            None => None,
        };
        let info = match &primary {
            Some(primary) => self.info.clone().set_addr(primary.address_like(self.info.addr())),
            None => self.info.clone(),
        };
        Ok(LinkTarget { info, others: self.others.clone(), is_of_cluster: self.is_of_cluster, primary })
    }

    /// Checks that a server is still the one to connect to; `Err` has the reason. Without a reply
    /// of the Sentinels, the server stays.
    pub(super) async fn confirm(&self, target: &LinkTarget) -> Result<(), String> {
        let (Some(sentinels), Some(known)) = (&self.sentinels, &target.primary) else { return Ok(()) };
        match sentinels.primary().await {
            Ok(primary) if primary != *known => {
                Err(format!("the Sentinels name {primary} as the primary, and no longer {known}"))
            }
            _ => Ok(()),
        }
    }

    /// Opens a connection for subscriptions. `push` receives the messages of the server, in order,
    /// as they are read.
    pub(super) async fn subscription_link(
        &self,
        target: &LinkTarget,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<RedisConnection, ConnectError> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.ping_timeout));
        self.make(&target.info, config, self.connect_timeout, push).await
    }

    /// Opens a connection for commands. Each command gets its reply within `timeout` or fails.
    pub(super) async fn command_connection(
        &self,
        target: &LinkTarget,
        timeout: Duration,
    ) -> Result<RedisConnection, ConnectError> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(timeout));
        let within = self.connect_timeout / (1 + u32::try_from(target.others.len()).unwrap_or(0));
        let mut outcome = self.make(&target.info, config.clone(), within, drop).await;
        for other in &target.others {
            if outcome.is_ok() {
                break;
            }
            let info = target.info.clone().set_addr(other.clone());
            outcome = self.make(&info, config.clone(), within, drop).await;
        }
        outcome
    }

    /// Opens a connection for sharded subscriptions.
    pub(super) async fn shard_link(&self, target: &LinkTarget) -> Result<ShardLink, ConnectError> {
        let within = self.connect_timeout / (1 + u32::try_from(target.others.len()).unwrap_or(0));
        let mut outcome = self.open_shard_link(&target.info, within).await;
        for other in &target.others {
            if outcome.is_ok() {
                break;
            }
            outcome = self.open_shard_link(&target.info.clone().set_addr(other.clone()), within).await;
        }
        outcome
    }

    async fn open_shard_link(
        &self,
        info: &ConnectionInfo,
        within: Duration,
    ) -> Result<ShardLink, ConnectError> {
        let login = self.credentials.login(info).await?;
        match ShardLink::open(&login, &self.bound, within).await {
            Err(ConnectionOpenError::Redis(error)) if error.is_connection_dropped() => {
                let sent = early_error::read(info.addr()).await;
                Err(sent.map_or_else(|| error.into(), ConnectError::Server))
            }
            made => Ok(made?),
        }
    }

    /// Opens a connection. If the server closes it at once, the error is the text that the server
    /// sends.
    async fn make(
        &self,
        info: &ConnectionInfo,
        config: AsyncConnectionConfig,
        within: Duration,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<RedisConnection, ConnectError> {
        let login = self.credentials.login(info).await?;
        match RedisConnection::open(&login, config, &self.bound, within, push).await {
            Err(ConnectionOpenError::Redis(error))
                if error.is_connection_dropped() && !error.is_connection_refusal() =>
            {
                let sent = early_error::read(info.addr()).await;
                Err(sent.map_or_else(|| error.into(), ConnectError::Server))
            }
            made => Ok(made?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        let redis::Value::ServerError(error) = value else { panic!("{line} is no error") };
        error.into()
    }

    #[test]
    fn errors_of_the_servers_state_are_temporary() {
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
            assert!(is_temporary(&server_error(line)), "{line}");
        }
        for line in [
            "NOPERM this user has no permissions to run the 'xadd' command",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "ERR unknown command 'OOM '",
            "ERR Error running script (call to f_1): the text -OOM of an event",
        ] {
            assert!(!is_temporary(&server_error(line)), "{line}");
        }
    }
}
