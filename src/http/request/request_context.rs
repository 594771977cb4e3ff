//! A request as a handler sees it, without its body.

use http::HeaderMap;

use super::forwarded::Scheme;
use crate::http::server::service::Peer;
use tidings_auth::Credentials;

/// What is known of a request besides its body.
#[derive(Debug)]
pub(crate) struct RequestContext {
    /// Its path, as it stands.
    pub(crate) path: String,
    /// Its query, as it stands, without the question mark; empty where there is none.
    pub(crate) query: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Who is on the other end.
    pub(crate) peer: Peer,
}

impl RequestContext {
    /// Decides with what of the request, and with a ticket where one is taken.
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
