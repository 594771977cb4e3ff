//! What the builders of both listeners share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::start_error::StartError;
use crate::http::{
    ConnectionGateSettings, ConnectionSettings, CorsRules, Hosts, ListenSocket, Listener, PassedSocket,
    Service, SocketSettings, TrustedProxies,
};
use tidings_metrics::Metrics;
use tidings_settings::ListenAddress;

/// Bound on resolving the name of an address.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of a listener.
#[derive(Debug)]
pub(super) struct ListenerSettings {
    /// The configuration key of its address.
    pub(super) key: &'static str,
    /// Its address.
    pub(super) address: ListenAddress,
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
    /// Opens the sockets: those that were passed, or else the address, with all addresses of a
    /// name.
    ///
    /// Cancellation safe: what was opened is closed.
    ///
    /// # Errors
    ///
    /// [`StartError`], if an address is in use or is none of this machine, or a name has none.
    pub(super) async fn open(&self, passed: Vec<PassedSocket>) -> Result<Vec<ListenSocket>, StartError> {
        let Self { key, address, socket, .. } = self;
        let failed = |source| StartError::Bind { key, address: address.clone(), source };
        if !passed.is_empty() {
            let open = |passed| ListenSocket::passed(passed, socket).map_err(failed);
            return passed.into_iter().map(open).collect();
        }
        match address {
            ListenAddress::Socket(address) => {
                Ok(vec![ListenSocket::bind_tcp(*address, socket).map_err(failed)?])
            }
            ListenAddress::Unix(path) => {
                Ok(vec![ListenSocket::bind_unix(path, socket).await.map_err(failed)?])
            }
            ListenAddress::Host { name, port } => {
                let addresses = resolve(name, *port, address.is_local()).await.map_err(failed)?;
                bind_all(&addresses, socket).map_err(failed)
            }
        }
    }

    /// A listener on open sockets, without an engine and without counts.
    pub(super) fn listener(
        self,
        sockets: Vec<ListenSocket>,
        routes: BoxedFilter<(Response,)>,
        origins: Arc<CorsRules>,
        metrics: Arc<Metrics>,
    ) -> Listener {
        let proxies = Arc::new(self.proxies);
        let service = Service::new(routes, origins, self.hosts, proxies, self.header_bytes, metrics);
        Listener {
            sockets,
            service,
            connection: self.connection,
            engine: None,
            connection_gate: self.connection_gate,
            metrics: None,
        }
    }
}

/// The addresses of a name, each once. Those of `localhost` must be loopback addresses, because the
/// rules for addresses took it for one.
async fn resolve(name: &str, port: u16, is_local: bool) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((name, port))).await;
    let found = found.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "the name server does not respond"))
    })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if is_local && !address.ip().to_canonical().is_loopback() {
            let message = format!("{name} has the address {}, which is not a loopback address", address.ip());
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, message));
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Binds all addresses of a name. A family of addresses that the machine lacks is left out, as IPv6
/// in many containers, if another address can be bound.
fn bind_all(addresses: &[SocketAddr], options: &SocketSettings) -> io::Result<Vec<ListenSocket>> {
    let (mut sockets, mut missing) = (Vec::new(), None);
    for address in addresses {
        match ListenSocket::bind_tcp(*address, options) {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_of_family(&error) => {
                tracing::warn!(%address, %error, "cannot listen on one of the addresses of a name");
                missing = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match missing {
        _ if !sockets.is_empty() => Ok(sockets),
        Some(error) => Err(error),
        None => Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address")),
    }
}

/// Whether the machine has no address of this family.
fn is_of_family(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: SocketSettings = SocketSettings {
        keepalive: Duration::from_secs(30),
        user_timeout: Duration::from_secs(30),
        send_buffer: 50_000,
        unix_mode: 0o660,
    };

    #[tokio::test]
    async fn all_addresses_of_a_local_name_are_loopback() {
        let addresses = resolve("localhost", 80, true).await.unwrap();
        assert!(!addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback()));
        // A name of the hosts file that lies.
        let error = resolve("192.0.2.1", 80, true).await.unwrap_err().to_string();
        assert!(error.contains("192.0.2.1") && error.contains("loopback"), "{error}");
        assert_eq!(resolve("192.0.2.1", 80, false).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn missing_family_is_left_out_and_a_taken_address_is_not() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        // 192.0.2.1 is no address of any machine (RFC 5737).
        let (here, elsewhere) = (address("127.0.0.1:0"), address("192.0.2.1:0"));
        assert_eq!(bind_all(&[elsewhere, here], &OPTIONS).unwrap().len(), 1);
        assert!(bind_all(&[elsewhere], &OPTIONS).is_err());
        assert!(bind_all(&[], &OPTIONS).is_err());
        let held = std::net::TcpListener::bind(here).unwrap();
        let taken = held.local_addr().unwrap();
        assert_eq!(bind_all(&[here, taken], &OPTIONS).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
