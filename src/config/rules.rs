//! Rules for single texts: what a base path, a channel prefix, an origin and a log level may look
//! like.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The longest channel prefix, in bytes.
const PREFIX_BYTES_MAX: usize = 128;

/// Empty, or segments that each begin with a slash. Segments consist of unreserved characters (RFC
/// 3986, section 2.3), so that the path has one spelling. Clients resolve `.` and `..` away
/// (section 5.2.4), so they are not allowed.
pub(super) fn is_base_path(path: &str) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(unreserved);
    path.is_empty() || path.strip_prefix('/').is_some_and(|segments| segments.split('/').all(segment))
}

/// A URL of `http` or `https` without a name, a password or a query.
pub(super) fn is_endpoint(endpoint: &str) -> bool {
    let parsed = endpoint.parse::<http::Uri>().ok();
    parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    })
}

/// Printable ASCII without space, and without what Redis reads as a pattern in `PSUBSCRIBE` and in
/// ACL rules.
pub(super) fn is_channel_prefix(prefix: &str) -> bool {
    (1..=PREFIX_BYTES_MAX).contains(&prefix.len())
        && prefix.bytes().all(|b| b.is_ascii_graphic() && !br"*?[]\".contains(&b))
}

/// `*`, or an origin exactly as browsers send it in `Origin` (RFC 6454, section 6.2). It is in
/// lower case, without a path, a slash at its end, or the default port of its scheme; another text
/// never matches. A host may begin with `*.` for all subdomains of `localhost`, or of a domain of
/// two labels or more.
pub(super) fn is_origin(origin: &str) -> bool {
    if origin == "*" {
        return true;
    }
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_listed = match host.strip_prefix("*.") {
        Some(domain) => is_host(domain) && (domain.contains('.') || domain == "localhost"),
        None => is_host(host),
    };
    is_scheme(scheme) && is_listed && port.is_none_or(|port| is_port(scheme, port))
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

/// A name in lower case, or an address; one of IPv6 is in brackets.
pub(super) fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        // A browser writes the shortest form.
        return address.parse::<std::net::Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address);
    }
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    !host.is_empty() && host.bytes().all(letter)
}

fn is_port(scheme: &str, port: &str) -> bool {
    port.parse::<u16>().is_ok_and(|parsed| parsed > 0 && parsed.to_string() == port)
        && !matches!((scheme, port), ("http", "80") | ("https", "443"))
}

/// Directives of [`EnvFilter`], separated by commas. A word alone must be a level. The filter
/// itself reads a misspelt level as the name of a module, and shows nothing of other modules.
pub(super) fn is_log_level(directives: &str) -> bool {
    // The parser of directives splits text at bytes. Without spaces and within ASCII every place is
    // safe.
    directives.bytes().all(|b| b.is_ascii_graphic())
        && directives.split(',').all(|directive| {
            let names_a_target = directive.contains(['=', '[', ']', '{', '}']);
            // What is empty would parse as the level "error".
            !directive.is_empty() && (names_a_target || directive.parse::<LevelFilter>().is_ok())
        })
        && EnvFilter::try_new(directives).is_ok()
}

#[cfg(test)]
mod tests;
