//! Builds the bus: Redis, or the embedded one.

use std::net::SocketAddr;
use std::sync::Arc;

use super::start_error::StartError;
use crate::http::PassedSocket;
use tidings_bus::Bus;
use tidings_bus::redis;
use tidings_bus::settings::{RedisConfig, RetentionConfig};
use tidings_embedded as embedded;
use tidings_embedded::settings::EmbeddedConfig;
use tidings_embedded::{ChannelNames, EmbeddedBus};
use tidings_event::{DesiredSubscriptions, NodeId};
use tidings_metrics::Metrics;

/// The settings of the configured bus.
#[derive(Debug)]
pub(super) enum BusSettings<'a> {
    /// A Redis.
    Redis {
        /// The server and the links to it.
        redis: &'a RedisConfig,
        /// The retention of the logs.
        retention: &'a RetentionConfig,
    },
    /// The embedded bus.
    Embedded {
        /// The bus and its listener, with the clients that the limit of open files permits.
        config: EmbeddedConfig,
        /// The retention of the logs.
        retention: &'a RetentionConfig,
        /// The names of its channels.
        names: ChannelNames<'a>,
        /// Bytes of a payload.
        event_bytes: usize,
    },
}

/// The bus of a node.
#[derive(Debug)]
pub(super) struct NodeBus {
    /// The bus; [`Bus::run`] runs it.
    pub(super) bus: Arc<dyn Bus>,
    /// The address of the embedded bus, if it runs and listens.
    pub(super) address: Option<SocketAddr>,
}

impl NodeBus {
    /// Opens the bus, with a passed socket for its listener if there is one. Redis need not be
    /// there yet. The embedded bus listens, and reads its logs.
    ///
    /// Cancellation safe: what was bound is closed.
    ///
    /// # Errors
    ///
    /// [`StartError`], if an address is not valid or in use, or the logs cannot be opened.
    pub(super) async fn open(
        settings: BusSettings<'_>,
        passed: Vec<PassedSocket>,
        node: NodeId,
        desired_subscriptions: Arc<DesiredSubscriptions>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        match settings {
            BusSettings::Redis { redis, retention } => {
                if !passed.is_empty() {
                    tracing::warn!("a Redis is configured: the passed socket of the embedded bus is closed");
                }
                let bus = redis::open(redis, retention, node, desired_subscriptions, metrics)?;
                Ok(Self { bus, address: None })
            }
            BusSettings::Embedded { config, retention, names, event_bytes } => {
                let listener = match (one_tcp(passed)?, config.listen) {
                    (Some(passed), _) => Some(embedded::adopt(passed, &config.password)?),
                    (None, Some(address)) => Some(embedded::bind(address, &config.password).await?),
                    (None, None) => None,
                };
                let address = listener.as_ref().map(|listener| listener.local_addr()).transpose();
                let address = address.map_err(StartError::Address)?;
                let bus = EmbeddedBus::open(
                    &config,
                    retention,
                    names,
                    event_bytes,
                    desired_subscriptions,
                    listener,
                );
                Ok(Self { bus: Arc::new(bus.await?), address })
            }
        }
    }
}

/// The passed socket of the embedded bus, which listens on one TCP socket.
fn one_tcp(passed: Vec<PassedSocket>) -> Result<Option<std::net::TcpListener>, StartError> {
    let mut passed = passed.into_iter();
    match (passed.next(), passed.next()) {
        (None, _) => Ok(None),
        (Some(PassedSocket::Tcp(socket)), None) => Ok(Some(socket)),
        (Some(_), _) => Err(StartError::BusSocket),
    }
}
