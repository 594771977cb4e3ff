//! The client of a request, also behind proxies.
//!
//! Any client can write the headers by which a proxy names its client. So they are read from their
//! end, and only as far as trusted proxies added them.

use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderMap, Uri};
use ipnet::IpNet;

use super::forwarded::{self, ProxyHeader, Scheme};

/// The trusted proxies and the header that they set.
#[derive(Debug, Clone)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ProxyHeader,
}

/// The client of a request, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAddress {
    /// Its address, or that of the outermost proxy that is not known to be one. IPv4 is never in
    /// its IPv6 form.
    pub address: IpAddr,
    /// The scheme that the client used. `None` if it is not known: a connection without TLS may
    /// come from a proxy that is not listed as trusted.
    pub scheme: Option<Scheme>,
    /// The host of the client's request, with its port if the client named one.
    pub host: Option<String>,
}

impl TrustedProxies {
    /// Trusts the proxies of some networks to name their clients in a header.
    #[must_use]
    pub fn new(networks: Vec<IpNet>, header: ProxyHeader) -> Self {
        Self { networks, header }
    }

    /// Trusts no proxy.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Vec::new(), ProxyHeader::XForwardedFor)
    }

    /// Whether this is the address of a trusted proxy.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The client of a request that arrived from `peer`, over TLS if so `secure`.
    ///
    /// The client is the nearest address that is no trusted proxy, or the farthest one if all are.
    /// An unreadable entry ends the search: then the client is the proxy that added it.
    #[must_use]
    pub fn client(&self, peer: IpAddr, secure: bool, uri: &Uri, headers: &HeaderMap) -> ClientAddress {
        let host = match uri.authority() {
            // HTTP/2 has no other; in HTTP/1.1 it takes precedence over the header (RFC 9112
            // section 3.2.2).
            Some(authority) => Some(authority.as_str()),
            None => headers.get(HOST).and_then(|host| host.to_str().ok()),
        };
        let mut client = ClientAddress {
            address: peer.to_canonical(),
            scheme: secure.then_some(Scheme::Https),
            host: host.map(str::to_owned),
        };
        if !self.trust(client.address) {
            return client;
        }
        for hop in forwarded::hops(headers, self.header) {
            // The entry of a hop comes from the proxy at the address reached so far.
            client.scheme = hop.scheme.or(client.scheme);
            client.host = hop.host.or(client.host);
            let Some(address) = hop.address else { break };
            client.address = address;
            if !self.trust(address) {
                break;
            }
        }
        client
    }
}

#[cfg(test)]
mod tests;
