//! The public HTTP surface: connections, requests, handlers and responses. A handler asks the hub
//! for a subscriber and passes it to delivery; it never touches a frame.
//!
//! A request passes the four parts in this order. `docs/architecture.md` has the direction of their
//! imports, and a test keeps it:
//!
//! | part | contents |
//! | --- | --- |
//! | [`server`] | listener, limits on connections, PROXY header, TLS, HTTP/1.1, HTTP/2, handoff |
//! | [`request`] | client address, host, `Accept`, query, `Last-Event-ID`, body |
//! | [`api`] | the public paths: streams, positions, publishing, tickets |
//! | [`response`] | problem documents, event streams, denials, CORS headers |
//!
//! Read first: [`Listener`], [`Service`], [`StreamHandler`]. The operations paths are in
//! [`crate::admin`].

pub(crate) mod api;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod server;

pub use api::position::PositionHandler;
pub use api::publish::{PublishHandler, PublishParameter};
pub use api::publish_rate::PublishRate;
pub use api::routes::{PublicHandlers, PublicRoute, ROUTES, public};
pub use api::stream::StreamHandler;
pub use api::tickets::TicketHandler;
pub use request::body::BodyReceiver;
pub use request::client_address::{ClientAddress, TrustedProxies};
pub use request::forwarded::{Hop, ProxyHeader, Scheme, hops};
pub use request::host::Hosts;
pub use request::last_event_id::ID_PARAMETERS;
pub use request::limit_exceeded::{LimitExceeded, refusal_reasons};
pub use request::query::{StreamParameter, StreamQuery};
pub use response::cors::{CorsRules, Origins};
pub use response::problem::Problem;
pub use response::refusal::REFUSAL_EVENT;
pub use response::rejections::REJECTIONS;
pub use server::certificate::{CertificateError, Certificates, Pair, PairFiles};
pub use server::connection::ConnectionSettings;
pub use server::connection_gate::{ConnectionGateSettings, ConnectionLimits};
pub use server::http2::Http2Settings;
pub use server::listen_socket::{ListenSocket, PassedSocket, SocketSettings};
pub use server::listener::Listener;
pub use server::service::Service;
pub use server::tls::Tls;
