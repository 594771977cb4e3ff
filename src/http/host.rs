//! Which hosts a request may be meant for.
//!
//! A page may have its own name resolve to 127.0.0.1 and then talk to a program on its visitor's machine as if it were its
//! own server (DNS rebinding); the browser's same-origin rules do not help, but the `Host` header still tells the name.

use std::net::IpAddr;

use http::header::{HOST, HeaderMap};
use http::{StatusCode, Uri};

use super::problem::Problem;

/// What hosts a listener answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// Any: who may connect was decided by the configuration.
    Any,
    /// Names that only this machine gives itself: loopback addresses and `localhost`.
    Local,
}

impl Hosts {
    /// Refuses a request that is meant for somebody else. One without a host is not a browser's.
    pub(super) fn check(self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        if self == Self::Any {
            return Ok(());
        }
        let named = match uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => headers.get(HOST).map(|host| host.to_str().unwrap_or("")),
        };
        if named.is_none_or(is_local) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown-host",
            "this listener answers to local names only, as pages could make their own name lead here: use 127.0.0.1 or \
             localhost, or write auth.mode out if a proxy or others shall reach it",
        ))
    }
}

/// Whether a host, with or without a port, is a name for this machine that no one else can hold (RFC 6761 section 6.3).
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names_are_those_that_nobody_else_can_hold() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.9.9.9:1",
            "[::1]:8080",
            "[::1]",
            "localhost",
            "LOCALHOST:80",
            "app.localhost:3000",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "10.0.0.1:8080",
            "127.0.0.1.evil.example",
            "[::2]:1",
            "notlocalhost",
            ":8080",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn any_host_where_the_configuration_decided() {
        let mut headers = HeaderMap::new();
        assert!(Hosts::Local.check(&Uri::from_static("/"), &headers).is_ok());
        headers.insert(HOST, "evil.example".parse().unwrap());
        assert!(Hosts::Local.check(&Uri::from_static("/"), &headers).is_err());
        assert!(Hosts::Local.check(&Uri::from_static("http://127.0.0.1/"), &headers).is_ok());
        assert!(Hosts::Any.check(&Uri::from_static("/"), &headers).is_ok());
    }
}
