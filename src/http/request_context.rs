//! A request as a handler sees it, without its body.

use http::HeaderMap;

use super::forwarded::Scheme;
use super::service::Peer;
use tidings_auth::Credentials;

/// What is known of a request besides its body.
#[derive(Debug)]
pub(super) struct RequestContext {
    /// Its path, as it stands.
    pub(super) path: String,
    /// Its query, as it stands, without the question mark; empty where there is none.
    pub(super) query: String,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Who is on the other end.
    pub(super) peer: Peer,
}

impl RequestContext {
    /// Decides with what of the request, and with a ticket where one is taken.
    pub(super) fn credentials<'a>(&'a self, ticket: Option<&'a str>) -> Credentials<'a> {
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
