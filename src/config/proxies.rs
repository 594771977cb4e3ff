//! `server.trusted_proxies` and `server.forwarded_header`: whose word on a client's address counts,
//! and which word.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

/// `server.forwarded_header`: the header in which trusted proxies write the address of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto` and `X-Forwarded-Host`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// A list of networks; a plain address is the network of itself alone.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let list = Vec::<String>::deserialize(deserializer).map_err(|_| not_networks())?;
    list.iter().map(|text| network(text).ok_or_else(not_networks)).collect()
}

fn network(text: &str) -> Option<IpNet> {
    let address = |address: IpAddr| IpNet::from(address.to_canonical());
    text.parse::<IpAddr>().map(address).or_else(|_| text.parse::<IpNet>()).ok()
}

fn not_networks<E: serde::de::Error>() -> E {
    E::custom("expected a list of addresses and networks such as [\"10.0.0.0/8\", \"::1\"]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_addresses_with_or_without_a_length() {
        for (text, expected) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.1.2.3", Some("10.1.2.3/32")),
            ("::1", Some("::1/128")),
            ("::ffff:10.1.2.3", Some("10.1.2.3/32")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("", None),
            ("10.0.0.0/33", None),
            ("localhost", None),
            ("10.0.0.1:80", None),
        ] {
            assert_eq!(network(text).map(|network| network.to_string()).as_deref(), expected, "{text:?}");
        }
    }
}
