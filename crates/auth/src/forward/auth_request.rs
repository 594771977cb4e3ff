//! The data of a client's request that the app receives.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::Action;
use tidings_event::workspace::WorkspaceId;
use tidings_limits::AddressKey;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Parameters of the query that authenticate a client by themselves, and that the app does not
/// need.
const SECRET_PARAMETERS: [&str; 2] = ["token", "ticket"];

/// Holds the data of a client's request for the app: Cookie, Authorization, User-Agent, the
/// configured further headers, and the request's origin.
///
/// Clones share the data, so a stream can store it for later requests. `Debug` shows only the names
/// of headers.
#[derive(Clone)]
pub struct AuthRequest(Arc<[(HeaderName, HeaderValue)]>, AddressKey);

/// Identifies a request to the app by its digest (SHA-256).
///
/// The digest covers all data that the app receives. So two clients share a response only if the
/// app cannot distinguish them. It does not reveal cookies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct AuthRequestKey([u8; 32]);

impl AuthRequest {
    /// Copies the data from a request.
    ///
    /// `extra` are the further headers. `client` is the client's address, behind trusted proxies
    /// too. `proto` is `http` or `https`, `host` the host in the request, and `uri` its path and
    /// query.
    pub(super) fn new(
        extra: &[HeaderName],
        headers: &HeaderMap,
        client: IpAddr,
        proto: &str,
        host: Option<&str>,
        uri: &str,
    ) -> Self {
        let mut copied = Vec::new();
        let single_hop = single_hop(headers);
        for name in [header::COOKIE, header::AUTHORIZATION, header::USER_AGENT].iter().chain(extra) {
            if single_hop.contains(name) || copied.iter().any(|(other, _)| other == name) {
                continue;
            }
            if *name == header::COOKIE {
                copied.extend(cookies(headers).map(|value| (name.clone(), value)));
                continue;
            }
            for value in headers.get_all(name) {
                // A copy, because the value is a part of the buffer of the whole head and would
                // keep it in memory.
                copied.extend(sensitive(value.as_bytes()).map(|value| (name.clone(), value)));
            }
        }
        for (name, value) in [
            (X_FORWARDED_FOR, Some(client.to_canonical().to_string())),
            (X_FORWARDED_PROTO, Some(proto.to_owned())),
            (X_FORWARDED_HOST, host.map(str::to_owned)),
            (X_FORWARDED_URI, Some(redacted(uri))),
        ] {
            copied.extend(value.and_then(|value| sensitive(value.as_bytes())).map(|value| (name, value)));
        }
        Self(copied.into(), AddressKey::of(client))
    }

    /// Returns the address by which requests take turns.
    pub(super) fn address(&self) -> AddressKey {
        self.1
    }

    /// Returns the headers of the request to the app.
    pub(super) fn headers(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }

    /// Returns the key of the request about this client, workspace and action.
    pub(super) fn key(&self, workspace: &WorkspaceId, action: Action) -> AuthRequestKey {
        let mut hash = Sha256::new();
        // The length precedes each part, so that different lists of parts have different bytes.
        let mut put = |part: &[u8]| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        put(workspace.as_str().as_bytes());
        put(action.as_str().as_bytes());
        for (name, value) in self.headers() {
            put(name.as_str().as_bytes());
            put(value.as_bytes());
        }
        AuthRequestKey(hash.finalize().into())
    }
}

impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.headers().map(|(name, _)| name.as_str())).finish()
    }
}

fn sensitive(bytes: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns the headers that a client declares to be for the next hop only (RFC 9110 section 7.6.1).
fn single_hop(headers: &HeaderMap) -> Vec<HeaderName> {
    let listed =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    listed.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

/// Joins all cookies into one value. HTTP/2 allows several values (RFC 9113 section 8.2.3), but
/// many HTTP/1.1 servers read the first one only.
fn cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let values: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if values.is_empty() { None } else { sensitive(&values.join(&b"; "[..])) }
}

/// Returns a path and query without secret values.
fn redacted(uri: &str) -> String {
    let Some((path, query)) = uri.split_once('?') else { return uri.to_owned() };
    let pairs = query.split('&').map(|pair| {
        let is_secret = form_urlencoded::parse(pair.as_bytes())
            .next()
            .is_some_and(|(name, _)| SECRET_PARAMETERS.contains(&&*name));
        match pair.split_once('=') {
            Some((name, _)) if is_secret => format!("{name}=***"),
            _ => pair.to_owned(),
        }
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests;
