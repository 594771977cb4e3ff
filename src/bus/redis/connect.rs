//! How connections to the server are made.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo, RedisError,
};

use super::identity::{Identity, Unfit};
use super::sentinel::{Primary, Sentinels};
use crate::config::RedisConfig;

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
    /// The server is of a kind that cannot be the bus.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Sentinels name a server that is no primary.
    #[error("{0} is no primary, by its own word")]
    Demoted(String),
    /// The connection for commands came to another server than the one for events.
    #[error("the address leads to two servers: see that all connections go to the primary")]
    OtherServer,
    /// The server cannot be reached, or does not let us in.
    #[error("{0}")]
    Server(String),
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        Self::Server(describe(&error))
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

/// Whether the server refuses because of the state it is in, and not because of what was asked: it is loading its data,
/// is in the middle of a failover, or runs somebody's long script.
pub(super) fn is_passing(error: &RedisError) -> bool {
    is_readonly(error)
        || matches!(
            error.code(),
            Some("LOADING" | "MASTERDOWN" | "NOREPLICAS" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY")
        )
}

/// Whether the server takes no writes because it is a replica. Scripts on Redis 6 wrap what their commands say.
pub(super) fn is_readonly(error: &RedisError) -> bool {
    error.code() == Some("READONLY") || error.detail().is_some_and(|detail| detail.contains("-READONLY "))
}

/// A server to connect to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    client: Client,
    /// Where it is, if Sentinels said so.
    pub(super) primary: Option<Primary>,
}

impl Target {
    /// Whether a server that says this of itself can be the bus.
    pub(super) fn check(&self, server: &Identity) -> Result<(), ConnectError> {
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
    sentinels: Option<Sentinels>,
    connect_timeout: Duration,
    ping_timeout: Duration,
}

impl Connector {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, ConnectError> {
        // rediss:// needs a process-wide choice of cryptography; whoever chose first is right.
        let _ = rustls::crypto::ring::default_provider().install_default();
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
        Ok(Self {
            info,
            sentinels: Sentinels::new(&config.sentinel)?,
            connect_timeout: config.connect_timeout_seconds.duration(),
            ping_timeout: config.ping_timeout_seconds.duration(),
        })
    }

    /// Finds the server to connect to.
    pub(super) async fn find(&self) -> Result<Target, ConnectError> {
        let primary = match &self.sentinels {
            Some(sentinels) => Some(sentinels.primary().await?),
            None => None,
        };
        let info = match &primary {
            Some(primary) => self.info.clone().set_addr(primary.address_like(self.info.addr())),
            None => self.info.clone(),
        };
        let client = Client::open(info).map_err(|_| ConnectError::Address)?;
        Ok(Target { client, primary })
    }

    /// Whether a server that was found is still the one to be connected to: `Err` says why not. What cannot be asked
    /// now is left open.
    pub(super) async fn confirm(&self, target: &Target) -> Result<(), String> {
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
        target: &Target,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, ConnectError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.ping_timeout))
            .set_push_sender(move |info| {
                push(info);
                Ok::<(), std::convert::Infallible>(())
            });
        Ok(target.client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// A connection for commands, each of which gets its answer within a time or fails.
    pub(super) async fn command_connection(
        &self,
        target: &Target,
        timeout: Duration,
    ) -> Result<MultiplexedConnection, ConnectError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(timeout));
        Ok(target.client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// A connection for commands that is made when first used and made again when it was lost, by whatever server is there.
    pub(super) fn command_link(
        &self,
        target: &Target,
        timeout: Duration,
    ) -> Result<ConnectionManager, ConnectError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(timeout))
            .set_number_of_retries(1);
        Ok(target.client.get_connection_manager_lazy(config)?)
    }
}
