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

    /// Whether no proxy is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies(header: ProxyHeader) -> TrustedProxies {
        TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], header)
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "broker.internal:8080".parse().unwrap());
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn client(peer: &str, lines: &[(&'static str, &str)]) -> ClientAddress {
        let peer = peer.parse().unwrap();
        proxies(ProxyHeader::XForwardedFor).client(peer, false, &Uri::from_static("/"), &headers(lines))
    }

    fn address(peer: &str, chain: &str) -> String {
        client(peer, &[("x-forwarded-for", chain)]).address.to_string()
    }

    #[test]
    fn the_nearest_address_that_is_no_trusted_proxy() {
        assert_eq!(address("203.0.113.9", "198.51.100.1"), "203.0.113.9", "not told by a proxy of ours");
        assert_eq!(address("10.0.0.1", "6.6.6.6, 198.51.100.1"), "198.51.100.1");
        assert_eq!(address("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2"), "198.51.100.1");
        assert_eq!(address("::ffff:10.0.0.1", "198.51.100.1, fd00::2"), "198.51.100.1");
        assert_eq!(address("10.0.0.1", "10.0.0.3, 10.0.0.2"), "10.0.0.3", "all are trusted");
        assert_eq!(address("10.0.0.1", "6.6.6.6, unknown, 10.0.0.2"), "10.0.0.2", "the last that is known");
        assert_eq!(address("10.0.0.1", ""), "10.0.0.1");
    }

    #[test]
    fn other_header_is_not_trusted() {
        let forged = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(client("10.0.0.1", &forged).address.to_string(), "198.51.100.1");
        let rules = proxies(ProxyHeader::Forwarded);
        let seen = rules.client(
            "10.0.0.1".parse().unwrap(),
            false,
            &Uri::from_static("/"),
            &headers(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https")]),
        );
        assert_eq!((seen.address.to_string().as_str(), seen.scheme), ("10.0.0.1", None));
    }

    #[test]
    fn scheme_and_host_are_those_of_the_outermost_trusted_proxy() {
        let lines = [
            ("x-forwarded-for", "6.6.6.6, 198.51.100.1, 10.0.0.2"),
            ("x-forwarded-proto", "http, https, http"),
            ("x-forwarded-host", "forged.example, live.example, inner.example"),
        ];
        let seen = client("10.0.0.1", &lines);
        assert_eq!((seen.scheme, seen.host.as_deref()), (Some(Scheme::Https), Some("live.example")));
        let seen = client("203.0.113.9", &lines);
        assert_eq!((seen.scheme, seen.host.as_deref()), (None, Some("broker.internal:8080")));
    }

    #[test]
    fn scheme_and_host_count_each_by_itself() {
        let (proto, host) = (("x-forwarded-proto", "https"), ("x-forwarded-host", "live.example"));
        let found = |lines: &[(&'static str, &str)]| {
            let seen = client("10.0.0.1", lines);
            assert_eq!(seen.address.to_string(), "10.0.0.1");
            (seen.scheme, seen.host.unwrap_or_default())
        };
        let own = "broker.internal:8080".to_owned();
        assert_eq!(found(&[proto]), (Some(Scheme::Https), own.clone()));
        assert_eq!(found(&[host]), (None, "live.example".to_owned()));
        assert_eq!(found(&[proto, host]), (Some(Scheme::Https), "live.example".to_owned()));
        assert_eq!(found(&[("x-forwarded-for", "unknown"), proto]), (Some(Scheme::Https), own.clone()));
        // Appended to a client's own entry, the nearest one is the proxy's.
        assert_eq!(found(&[("x-forwarded-proto", "https, http")]), (Some(Scheme::Http), own.clone()));
        let stranger = client("203.0.113.9", &[proto, host]);
        assert_eq!((stranger.scheme, stranger.host), (None, Some(own)));
    }

    #[test]
    fn http_2_names_its_host_in_the_target() {
        let uri = Uri::from_static("https://live.example/api");
        let seen = TrustedProxies::none().client("::1".parse().unwrap(), true, &uri, &HeaderMap::new());
        assert_eq!((seen.scheme, seen.host.as_deref()), (Some(Scheme::Https), Some("live.example")));
    }

    proptest! {
        /// A client cannot choose the address that a node counts for it.
        #[test]
        fn a_client_cannot_choose_its_address(forged in "[ -~]{0,80}") {
            let appended = format!("{forged}, 198.51.100.1");
            prop_assert_eq!(address("10.0.0.1", &appended), "198.51.100.1");
        }

        /// A client cannot choose its address by `Forwarded` either.
        #[test]
        fn a_client_cannot_choose_its_address_by_forwarded(forged in "[ -~]{0,80}|[for=\",;\\\\1. ]{0,40}") {
            let rules = proxies(ProxyHeader::Forwarded);
            let found = r#"for="[2001:db8::7]:443";proto=https;by="_edge""#;
            let seen = |lines: &[(&'static str, &str)]| {
                let peer = "10.0.0.1".parse().unwrap();
                rules.client(peer, false, &Uri::from_static("/"), &headers(lines)).address.to_string()
            };
            // In a line of its own the proxy's entry is separate.
            prop_assert_eq!(seen(&[("forwarded", &forged), ("forwarded", found)]), "2001:db8::7");
            // Appended to a line with an open quote, it may become unreadable; no other entry
            // takes its place.
            let joined = seen(&[("forwarded", &format!("{forged}, {found}"))]);
            prop_assert!(joined == "2001:db8::7" || joined == "10.0.0.1", "{}", joined);
        }
    }
}
