//! What proxies write about their clients, and what clients write in their stead.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use ipnet::IpNet;

use tidings::http::{ProxyHeader, TrustedProxies, hops};

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

const HOPS_MAX: usize = 32;
const HOST_BYTES_MAX: usize = 261;

static NETWORKS: LazyLock<Vec<IpNet>> = LazyLock::new(|| vec![IpNet::from(PROXY)]);

/// `Forwarded` and `X-Forwarded-For`, one header a line. The parsed parts are bounded and
/// well-formed. A client cannot hide the address that a trusted proxy adds behind its text.
pub fn forwarded(data: &[u8]) {
    for (header, name, client) in [
        (ProxyHeader::Forwarded, FORWARDED, format!("for={CLIENT}")),
        (ProxyHeader::XForwardedFor, HeaderName::from_static("x-forwarded-for"), CLIENT.to_string()),
    ] {
        let lines = data.split(|byte| *byte == b'\n').take(64);
        let lines: Vec<_> = lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
        let mut headers: HeaderMap = lines.iter().map(|line| (name.clone(), line.clone())).collect();
        let found = hops(&headers, header);
        assert!(found.len() <= HOPS_MAX);
        for hop in &found {
            assert!(hop.address.is_none_or(|address| address == address.to_canonical()), "{hop:?}");
            let host = hop.host.as_deref().unwrap_or("a");
            assert!(
                (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_graphic()),
                "{hop:?}"
            );
        }

        let proxies = TrustedProxies::new(NETWORKS.clone(), header);
        let address =
            |peer, headers: &HeaderMap| proxies.client(peer, false, &Uri::from_static("/"), headers).address;
        assert_eq!(address(CLIENT, &headers), CLIENT, "an untrusted proxy changes nothing");

        // The proxy adds to the last line. A quote that the client left open hides what is added,
        // and then only the proxy is known.
        if let Some(last) = lines.last() {
            let line = [last.as_bytes(), b", ", client.as_bytes()].concat();
            let mut headers = headers.clone();
            headers.remove(&name);
            let before = &lines[..lines.len() - 1];
            for line in before.iter().cloned().chain(HeaderValue::from_bytes(&line)) {
                headers.append(name.clone(), line);
            }
            let found = address(PROXY, &headers);
            assert!(found == CLIENT || (found == PROXY && header == ProxyHeader::Forwarded), "{found}");
        }
        // It adds a line of its own.
        if let Ok(client) = HeaderValue::from_str(&client) {
            headers.append(name, client);
            assert_eq!(address(PROXY, &headers), CLIENT);
        }
    }
}
