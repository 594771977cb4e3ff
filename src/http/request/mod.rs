//! Reading a request: its client, and the parts of its head and body that handlers use.
//!
//! | part | contents |
//! | --- | --- |
//! | [`request_context`] | a request as a handler sees it, without its body |
//! | [`peer`], [`limit_exceeded`] | its client and connection, and the limit that rejects them |
//! | [`client_address`], [`forwarded`] | the client of a request behind trusted proxies |
//! | [`host`] | the check of `Host` against `server.hosts` |
//! | [`path`] | the end of a path, and the workspace in it |
//! | [`accept`] | whether a client takes `text/event-stream` |
//! | [`query`], [`last_event_id`] | the parameters of a stream, and its position |
//! | [`body`], [`addressed`] | a body within its limits, and the envelope with an audience |
//!
//! Read first: [`request_context::RequestContext`], [`client_address::TrustedProxies`],
//! [`query::StreamQuery`].

pub(crate) mod accept;
pub(crate) mod addressed;
pub(crate) mod body;
pub(crate) mod client_address;
pub(crate) mod forwarded;
pub(crate) mod host;
pub(crate) mod last_event_id;
pub(crate) mod limit_exceeded;
pub(crate) mod path;
pub(crate) mod peer;
pub(crate) mod query;
pub(crate) mod request_context;
