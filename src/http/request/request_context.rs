//! A request as a handler sees it, without its body.

use http::HeaderMap;

use super::forwarded::Scheme;
use super::peer::Peer;
use crate::http::response::cors::CorsRules;
use crate::http::response::problem::Problem;
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
    /// Rejects a request that changes something if a page of another origin sends it, unless
    /// `origins` lists that origin.
    ///
    /// # Errors
    ///
    /// Returns 403.
    pub(crate) fn check_sender(&self, origins: &CorsRules) -> Result<(), Problem> {
        let client = &self.peer.client;
        origins.check_sender(&self.headers, client.scheme.map(Scheme::as_str), client.host.as_deref())
    }
}
