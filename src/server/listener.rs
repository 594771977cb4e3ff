//! What the builders of both listeners share.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::start_error::StartError;
use crate::http;
use crate::http::{
    ConnectionGateSettings, ConnectionSettings, Hosts, Listener, Origins, Service, SocketSettings,
    TrustedProxies,
};

/// The settings of a listener.
#[derive(Debug)]
pub(super) struct ListenerSettings {
    /// The configuration key of its address.
    pub(super) key: &'static str,
    /// Its address.
    pub(super) address: SocketAddr,
    /// Socket options.
    pub(super) socket: SocketSettings,
    /// The protocols of connections, and their timeouts.
    pub(super) connection: ConnectionSettings,
    /// Bounds on connections.
    pub(super) connection_gate: ConnectionGateSettings,
    /// The hosts that it accepts.
    pub(super) hosts: Hosts,
    /// The proxies that may name their clients.
    pub(super) proxies: TrustedProxies,
    /// Bytes of a request's head.
    pub(super) header_bytes: usize,
}

impl ListenerSettings {
    /// Binds the address.
    ///
    /// # Errors
    ///
    /// [`StartError::Bind`], if the address is in use, or is none of this machine.
    pub(super) fn bind(&self) -> Result<TcpListener, StartError> {
        let Self { key, address, socket, .. } = self;
        http::bind(*address, socket).map_err(|source| StartError::Bind { key, address: *address, source })
    }

    /// A listener on a bound socket, without an engine and without counts.
    pub(super) fn listener(
        self,
        listener: TcpListener,
        routes: BoxedFilter<(Response,)>,
        origins: Arc<Origins>,
    ) -> Listener {
        let service = Service::new(routes, origins, self.hosts, Arc::new(self.proxies), self.header_bytes);
        Listener {
            listener,
            service,
            connection: self.connection,
            socket: self.socket,
            engine: None,
            connection_gate: self.connection_gate,
            metrics: None,
        }
    }
}
