//! The headers by which proxies describe a request: `Forwarded` (RFC 7239), and `X-Forwarded-For`
//! and similar ones.
//!
//! This module only parses. [`client_address`](super::client_address) decides which entries a node
//! trusts.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

use super::host;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The most hops that are read, beginning with the nearest one.
const HOPS_MAX: usize = 32;

/// The longest name of a host with its port: 255 bytes of name (RFC 1035 section 2.3.4), a colon,
/// five digits.
const HOST_BYTES_MAX: usize = 261;

/// The header in which trusted proxies write the address of a client. Only one counts: a proxy that
/// sets one of them passes the other on as its client wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto` and `X-Forwarded-Host`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The scheme of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// The entry of one proxy about the request that it received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hop {
    /// The sender; `None` if it is no readable address.
    pub address: Option<IpAddr>,
    /// The scheme of the request.
    pub scheme: Option<Scheme>,
    /// The host of the request, with its port if the request named one.
    pub host: Option<String>,
}

impl Scheme {
    /// The scheme of a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case("http") => Some(Self::Http),
            _ if text.eq_ignore_ascii_case("https") => Some(Self::Https),
            _ => None,
        }
    }
}

/// Returns the hops in the headers of a request, the nearest one first, at most 32. Several lines
/// of one header are one list (RFC 9110 section 5.2).
#[must_use]
pub fn hops(headers: &HeaderMap, header: ProxyHeader) -> Vec<Hop> {
    match header {
        ProxyHeader::Forwarded => {
            let elements = newest(headers, &FORWARDED, HOPS_MAX);
            elements.into_iter().map(|element| element_of_forwarded(element).unwrap_or_default()).collect()
        }
        ProxyHeader::XForwardedFor => {
            let [clients, schemes, hosts] = [&X_FORWARDED_FOR, &X_FORWARDED_PROTO, &X_FORWARDED_HOST]
                .map(|name| newest(headers, name, HOPS_MAX));
            // A proxy appends to these headers, or replaces them. A replaced one has a single
            // value, that of the outermost proxy which did so.
            let at = |list: &[&[u8]], hop: usize| list.get(hop).or(list.last()).copied().and_then(text);
            let hop = |number: usize| Hop {
                address: clients.get(number).copied().and_then(text).as_deref().and_then(bare_node),
                scheme: at(&schemes, number).as_deref().and_then(Scheme::parse),
                host: at(&hosts, number).filter(|host| is_host(host)),
            };
            // Each header counts by itself: a proxy that names no client may still name scheme and
            // host.
            let found = usize::from(!schemes.is_empty() || !hosts.is_empty());
            (0..clients.len().max(found)).map(hop).collect()
        }
    }
}

/// The last elements of a header's list, the last one first. Empty elements do not count (RFC 9110
/// section 5.6.1).
fn newest<'headers>(headers: &'headers HeaderMap, name: &HeaderName, max: usize) -> Vec<&'headers [u8]> {
    let quoted = *name == FORWARDED;
    let mut last = VecDeque::with_capacity(4);
    let elements = headers.get_all(name).iter().flat_map(|line| Split::new(line.as_bytes(), b',', quoted));
    for element in elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()) {
        if last.len() == max {
            last.pop_front();
        }
        last.push_back(element);
    }
    last.into_iter().rev().collect()
}

/// Parts of a text at a separator; one within a quoted string does not separate.
struct Split<'text> {
    rest: Option<&'text [u8]>,
    separator: u8,
    quoted: bool,
}

impl<'text> Split<'text> {
    fn new(text: &'text [u8], separator: u8, quoted: bool) -> Self {
        Self { rest: Some(text), separator, quoted }
    }
}

impl<'text> Iterator for Split<'text> {
    type Item = &'text [u8];

    fn next(&mut self) -> Option<&'text [u8]> {
        let rest = self.rest.take()?;
        let (mut within, mut escaped) = (false, false);
        for (at, &byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if within => escaped = true,
                b'"' if self.quoted => within = !within,
                _ if byte == self.separator && !within => {
                    self.rest = Some(&rest[at + 1..]);
                    return Some(&rest[..at]);
                }
                _ => {}
            }
        }
        Some(rest)
    }
}

/// One element of `Forwarded` (RFC 7239 section 4); `None` if it is malformed.
fn element_of_forwarded(element: &[u8]) -> Option<Hop> {
    let mut hop = Hop::default();
    let mut seen = [false; 3];
    for pair in Split::new(element, b';', true).map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (text(&pair[..at])?, value(&pair[at + 1..])?);
        if !is_token(name.as_bytes()) {
            return None;
        }
        let which = ["for", "proto", "host"].iter().position(|known| name.eq_ignore_ascii_case(known));
        let Some(which) = which else { continue };
        if std::mem::replace(&mut seen[which], true) {
            return None;
        }
        match which {
            0 => hop.address = node(&value),
            1 => hop.scheme = Scheme::parse(&value),
            _ => hop.host = Some(value).filter(|host| is_host(host)),
        }
    }
    Some(hop)
}

/// A token, or the content of a quoted string (RFC 9110 section 5.6.4).
fn value(bytes: &[u8]) -> Option<String> {
    let Some(rest) = bytes.strip_prefix(b"\"") else {
        return is_token(bytes).then(|| text(bytes)).flatten();
    };
    let mut content = Vec::with_capacity(rest.len());
    let mut rest = rest.iter().copied();
    loop {
        match rest.next()? {
            // The closing quote is the end of the value.
            b'"' => return rest.next().is_none().then(|| text(&content)).flatten(),
            b'\\' => content.push(rest.next()?),
            byte => content.push(byte),
        }
    }
}

/// Parses an address of `Forwarded` (RFC 7239 section 6), with or without a port. Returns `None`
/// for `unknown` and for names that hide an address.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (IpAddr::from(address.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (address, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (IpAddr::V4(address.parse().ok()?), port)
        }
    };
    let is_port = |port: &str| match port.strip_prefix('_') {
        Some(hidden) => !hidden.is_empty() && is_token(hidden.as_bytes()),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    };
    let named = port.strip_prefix(':');
    (port.is_empty() || named.is_some_and(is_port)).then(|| address.to_canonical())
}

/// An address as `X-Forwarded-For` has it: as above, or IPv6 without brackets.
fn bare_node(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical()).or_else(|| node(text))
}

fn text(bytes: &[u8]) -> Option<String> {
    bytes.is_ascii().then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// RFC 9110 section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !bytes.is_empty() && bytes.iter().all(|&byte| token(byte))
}

/// Whether this is valid in `Host`: a name or an address, with or without a port.
fn is_host(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    host.len() <= HOST_BYTES_MAX && host.bytes().all(allowed) && host::name_of(host).is_some()
}

#[cfg(test)]
mod tests;
