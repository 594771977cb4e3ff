//! A request as a handler sees it, without its body.

use http::HeaderMap;

use super::forwarded::Scheme;
use crate::http::server::service::Peer;
use tidings_auth::Credentials;

/// A request without its body.
#[derive(Debug)]
pub(crate) struct RequestContext {
    /// Its path, not decoded.
    pub(crate) path: String,
    /// Its query without the question mark, not decoded; empty if there is none.
    pub(crate) query: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// The other end of the connection.
    pub(crate) peer: Peer,
}

impl RequestContext {
    /// The parts that authentication uses, with a ticket if the path accepts one.
    pub(crate) fn credentials<'a>(&'a self, ticket: Option<&'a str>) -> Credentials<'a> {
        Credentials {
            headers: &self.headers,
            query: &self.query,
            ticket,
            path: &self.path,
            address: self.peer.client.address,
            scheme: self.peer.client.scheme.map_or("http", Scheme::as_str),
            host: self.peer.client.host.as_deref(),
        }
    }
}
