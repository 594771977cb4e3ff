//! Finding the primary by asking Sentinels.

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

/// Bound on asking all Sentinels, which are asked at the same time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a primary is.
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
    /// The connection that gave the last answer. One that gave none in time is not kept, as it may never give any.
    connection: Mutex<Option<RedisConnection>>,
}

impl Sentinels {
    /// `None` where none are configured. Nothing is connected yet.
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

    /// Where the primary is, by the word of the Sentinel that knows of the latest failover.
    ///
    /// Each failover has an epoch of its own, and a Sentinel that was cut off still tells of an earlier one (Redis
    /// Sentinel, "Configuration epochs").
    pub(super) async fn primary(&self) -> Result<Primary, ConnectError> {
        let answers = join_all(self.nodes.iter().map(|node| self.ask(node))).await;
        let mut latest: Option<(u64, Primary)> = None;
        let mut errors = Vec::new();
        for answer in answers {
            match answer {
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
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, node.master(&self.name))
            .await
            .unwrap_or_else(|_| Err(ConnectError::Server("no answer in time".to_owned())));
        let fields = answer.map_err(|error| error.to_string())?;
        let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok());
        let host = fields.get("ip").filter(|host| !host.is_empty());
        let port = number("port").and_then(|port| u16::try_from(port).ok());
        match (host, port, number("config-epoch")) {
            (Some(host), Some(port), Some(epoch)) => Ok((epoch, Primary { host: host.clone(), port })),
            _ => Err("a Sentinel answered without address or epoch".to_owned()),
        }
    }
}

impl SentinelNode {
    /// What it says of a primary.
    async fn master(&self, name: &str) -> Result<HashMap<String, String>, ConnectError> {
        let kept = self.connection.lock().take();
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_TIMEOUT));
                let login = self.credentials.login(&self.info).await?;
                RedisConnection::open(&login, config, &self.bound, ANSWER_TIMEOUT).await?
            }
        };
        let mut ask = redis::cmd("SENTINEL");
        let answer = ask.arg("MASTER").arg(name).query_async(&mut connection).await;
        let answer = match connection.excess().get() {
            Some(error) => return Err(error.into()),
            None => answer?,
        };
        *self.connection.lock() = Some(connection);
        Ok(answer)
    }
}

impl Primary {
    /// Its address, reached in the same way as another one: with TLS or without.
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
