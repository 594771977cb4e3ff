//! The address of the primary, from Sentinels.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::bounded::Bound;
use super::connect::ConnectError;
use super::connection::RedisConnection;
use super::credentials::RedisCredentials;
use crate::settings::RedisConfig;

/// Limits the time to query all Sentinels, in parallel.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// The address of a primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Primary {
    pub(super) host: String,
    pub(super) port: u16,
}

/// The Sentinels that watch a primary.
pub(super) struct Sentinels {
    name: String,
    nodes: Vec<SentinelNode>,
}

/// One Sentinel.
struct SentinelNode {
    info: ConnectionInfo,
    credentials: RedisCredentials,
    bound: Arc<Bound>,
    /// The connection of the last reply. After a timeout it is dropped, because it may never reply
    /// again.
    connection: Mutex<Option<RedisConnection>>,
}

impl Sentinels {
    /// Creates the Sentinels without connecting; returns `None` if none are configured.
    pub(super) fn new(config: &RedisConfig, bound: &Arc<Bound>) -> Result<Option<Self>, ConnectError> {
        let credentials = RedisCredentials::of_sentinels(config);
        let node = |url: &tidings_settings::RedisUrl| {
            let info = url.reveal().into_connection_info().map_err(|_| ConnectError::SentinelAddress)?;
            let (credentials, bound) = (credentials.clone(), Arc::clone(bound));
            Ok(SentinelNode { info, credentials, bound, connection: Mutex::default() })
        };
        let nodes: Vec<_> = config.sentinel.nodes.iter().map(node).collect::<Result<_, ConnectError>>()?;
        Ok((!nodes.is_empty()).then(|| Self { name: config.sentinel.primary.clone(), nodes }))
    }

    /// Returns the primary that the Sentinel with the latest failover names.
    ///
    /// Each failover has an epoch of its own. A Sentinel that was disconnected from the others
    /// still names an earlier primary (Redis Sentinel, "Configuration epochs").
    pub(super) async fn primary(&self) -> Result<Primary, ConnectError> {
        let replies = join_all(self.nodes.iter().map(|node| self.ask(node))).await;
        let mut latest: Option<(u64, Primary)> = None;
        let mut errors = Vec::new();
        for reply in replies {
            match reply {
                Ok((epoch, primary)) => {
                    if latest.as_ref().is_none_or(|(known, _)| epoch > *known) {
                        latest = Some((epoch, primary));
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        latest.map(|(_, primary)| primary).ok_or_else(|| {
            ConnectError::Server(format!(
                "no Sentinel names a primary `{}`: {}",
                self.name,
                errors.join("; ")
            ))
        })
    }

    async fn ask(&self, node: &SentinelNode) -> Result<(u64, Primary), String> {
        let reply = tokio::time::timeout(REPLY_TIMEOUT, node.master(&self.name))
            .await
            .unwrap_or_else(|_| Err(ConnectError::Server("no reply in time".to_owned())));
        let fields = reply.map_err(|error| error.to_string())?;
        let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok());
        let host = fields.get("ip").filter(|host| !host.is_empty());
        let port = number("port").and_then(|port| u16::try_from(port).ok());
        match (host, port, number("config-epoch")) {
            (Some(host), Some(port), Some(epoch)) => Ok((epoch, Primary { host: host.clone(), port })),
            _ => Err("a Sentinel replied without address or epoch".to_owned()),
        }
    }
}

impl SentinelNode {
    /// Returns the Sentinel's data of a primary.
    async fn master(&self, name: &str) -> Result<HashMap<String, String>, ConnectError> {
        let last = self.connection.lock().take();
        let mut connection = match last {
            Some(connection) => connection,
            None => {
                let config = AsyncConnectionConfig::new().set_response_timeout(Some(REPLY_TIMEOUT));
                let login = self.credentials.login(&self.info).await?;
                RedisConnection::open(&login, config, &self.bound, REPLY_TIMEOUT, drop).await?
            }
        };
        let mut ask = redis::cmd("SENTINEL");
        let reply = ask.arg("MASTER").arg(name).query_async(&mut connection).await;
        let reply = match connection.conduct().fault() {
            Some(error) => return Err(error.into()),
            None => reply?,
        };
        *self.connection.lock() = Some(connection);
        Ok(reply)
    }
}

impl Primary {
    /// Returns the address of the primary in the form of another one: with TLS or without.
    pub(super) fn address_like(&self, other: &ConnectionAddr) -> ConnectionAddr {
        match other {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host: self.host.clone(),
                port: self.port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(self.host.clone(), self.port),
        }
    }
}

impl std::fmt::Display for Primary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl std::fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sentinels").field("name", &self.name).field("nodes", &self.nodes.len()).finish()
    }
}
