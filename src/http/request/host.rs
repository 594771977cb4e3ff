//! Which hosts a request may be meant for.
//!
//! A page may have its own name resolve to 127.0.0.1 and then use a program on its visitor's
//! machine as its own server (DNS rebinding). The browser's same-origin rules do not help, but the
//! `Host` header still has the name.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, Request, StatusCode, Version};

use super::forwarded::{self, ProxyHeader};
use crate::http::response::problem::Problem;

/// The hosts that a listener accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// Any host: the configuration has decided which clients may connect.
    Any,
    /// Names that only this machine gives itself: loopback addresses and `localhost`.
    Local,
    /// The same, and these names and addresses.
    LocalAnd(Arc<[String]>),
}

impl Hosts {
    /// Whether these include the host of an authority, such as `localhost:8081`.
    pub(crate) fn contain_authority(&self, authority: &str) -> bool {
        name_of(authority).is_some_and(|host| self.contain(host))
    }

    fn contain(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Local => is_local(host),
            Self::LocalAnd(others) => {
                let name = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
                let name = name.strip_suffix('.').unwrap_or(name);
                is_local(host) || others.iter().any(|other| other.eq_ignore_ascii_case(name))
            }
        }
    }

    /// Refuses a request that does not name one host, and one that is meant for another machine.
    ///
    /// # Errors
    ///
    /// Returns 400 for a host that is missing, given twice or malformed, and 421 for one that is
    /// not the listener's.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let host =
            host(request).map_err(|detail| Problem::new(StatusCode::BAD_REQUEST, "bad-host", detail))?;
        let misdirected = |detail| Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", detail));
        if *self == Self::Local && !is_forwarded_locally(request.headers()) {
            return misdirected(
                "a proxy forwards this request from another machine, and this listener accepts requests of this machine only: set \
                 auth.mode",
            );
        }
        // Only a client of HTTP/1.0 names none, and browsers speak a later version.
        if host.is_none_or(|host| self.contain(host)) {
            return Ok(());
        }
        misdirected(
            "this listener accepts local names only, because a page could make its own name resolve here: use 127.0.0.1 or \
             localhost, or set auth.mode if a proxy or other machines are to reach it",
        )
    }
}

/// Whether all that proxies say of a request is local. A proxy such as that of a development server
/// names local addresses and hosts. By default a proxy sends its own address as the host, so the
/// host alone does not show that other machines reach the listener.
fn is_forwarded_locally(headers: &HeaderMap) -> bool {
    [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded]
        .into_iter()
        .flat_map(|header| forwarded::hops(headers, header))
        .all(|hop| {
            hop.address.is_none_or(|address| address.to_canonical().is_loopback())
                && hop.host.is_none_or(|host| name_of(&host).is_some_and(is_local))
        })
}

/// The host of a request, without its port; `None` if HTTP/1.0 names none.
///
/// Every other request names exactly one host: in `Host` over HTTP/1.1 (RFC 9112 section 3.2), in
/// `:authority` over HTTP/2. `Host` may repeat that one (RFC 9113 section 8.3.1). In HTTP/1.1 an
/// absolute target takes precedence over the header, which is required nevertheless.
fn host<B>(request: &Request<B>) -> Result<Option<&str>, &'static str> {
    const TWICE: &str = "the request names its host more than once: send one Host header";
    const MALFORMED: &str =
        "the request's host is malformed: send a name or an address, and a port if need be";
    let mut headers = request.headers().get_all(HOST).iter();
    let header = headers.next();
    if headers.next().is_some() {
        return Err(TWICE);
    }
    let header = header.map(|value| value.to_str().map_err(|_| MALFORMED)).transpose()?;
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let missing = match request.version() {
        Version::HTTP_09 | Version::HTTP_10 => false,
        Version::HTTP_11 => header.is_none(),
        _ => header.or(authority).is_none(),
    };
    if missing {
        return Err("the request names no host: send a Host header");
    }
    if request.version() >= Version::HTTP_2
        && let (Some(header), Some(authority)) = (header, authority)
        && !header.eq_ignore_ascii_case(authority)
    {
        return Err(TWICE);
    }
    let header = header.map(|header| name_of(header).ok_or(MALFORMED)).transpose()?;
    let authority = authority.map(|authority| name_of(authority).ok_or(MALFORMED)).transpose()?;
    Ok(authority.or(header))
}

/// The host of a `host [":" port]`, with the brackets of an IPv6 address. Returns `None` for
/// anything else (RFC 3986 section 3.2), such as a user before an `@`, or no host.
pub(super) fn name_of(authority: &str) -> Option<&str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, _) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            address.len() + 2
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
            if end == 0 || !authority.as_bytes()[..end].iter().copied().all(name) {
                return None;
            }
            end
        }
    };
    let (host, port) = authority.split_at(end);
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok() && !port.starts_with('+');
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(host)
}

/// Whether a host is a name of this machine that no other machine can have (RFC 6761 section 6.3).
fn is_local(host: &str) -> bool {
    let name = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests;
