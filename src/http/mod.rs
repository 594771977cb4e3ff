//! HTTP: listening, routing and answering. A handler asks the hub for a subscriber and hands it to delivery; it never
//! touches a frame.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`listener`], [`connection_gate`], [`open_connections`] | accepting connections, bounded, with socket options |
//! | [`connection`] | one connection: whose it is and what it speaks |
//! | [`proxy_protocol`], [`tls`], [`certificate`], [`preface`] | what stands before HTTP |
//! | [`drive`], [`watched`], [`request_timer`], [`http2`], [`http2_stall`] | hyper, its timeouts and bounds, and the connection's end |
//! | [`handoff`] | taking the socket of a stream out of hyper |
//! | [`service`] | what stands around every request: head size, peer address, CORS |
//! | [`client_address`], [`forwarded`] | who a request is from, behind proxies |
//! | [`routes`] | the public paths |
//! | [`stream`], [`publish`] | the two things one can do with a workspace |
//! | [`tickets`] | one-use words for addresses |
//! | [`denied`] | how those are answered who are not let in |
//! | [`admin`] | the operations paths |
//! | [`request_context`] | a request as a handler sees it |
//! | [`addressed`], [`publish_rate`] | for whom events are, and how fast they may come |
//! | [`accept`], [`body`], [`cors`], [`host`], [`query`], [`last_event_id`], [`problem`] | parts of requests and answers |

mod accept;
mod addressed;
pub mod admin;
mod body;
mod certificate;
mod client_address;
mod connection;
mod connection_gate;
mod cors;
mod denied;
mod drive;
pub mod forwarded;
mod handoff;
mod host;
mod http2;
mod http2_stall;
mod last_event_id;
mod listener;
mod open_connections;
mod preface;
mod problem;
mod proxy_protocol;
mod publish;
mod publish_rate;
pub(crate) mod query;
mod request_context;
mod request_timer;
mod routes;
mod service;
mod stream;
mod tickets;
mod tls;
mod watched;

pub use certificate::{CertificateError, Certificates, Pair, PairFiles};
pub use client_address::{ClientAddress, TrustedProxies};
pub use connection::ConnectionSettings;
pub use connection_gate::{ConnectionGateSettings, LimitExceeded};
pub use cors::Origins;
pub use host::Hosts;
pub use http2::Http2Settings;
pub use listener::{Listener, SocketSettings, bind};
pub use problem::Problem;
pub use publish_rate::PublishRate;
pub use routes::{PublicApi, public};
pub use service::Service;
pub use tls::Tls;
