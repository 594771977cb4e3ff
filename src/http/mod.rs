//! HTTP: listening, routing and answering. A handler asks the hub for a subscriber and hands it to delivery; it never
//! touches a frame.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`listener`] | accepting connections, bounded, with socket options |
//! | [`connection`] | one connection: hyper, its timeouts, its end |
//! | [`service`] | what stands around every request: head size, peer address, CORS |
//! | [`routes`] | the public paths |
//! | [`stream`], [`publish`] | the two things one can do with a workspace |
//! | [`tickets`] | one-use words for addresses |
//! | [`denied`] | how those are answered who are not let in |
//! | [`admin`] | the operations paths |
//! | [`visit`] | a request as a handler sees it |
//! | [`addressed`], [`publish_rate`] | for whom events are, and how fast they may come |
//! | [`accept`], [`body`], [`cors`], [`host`], [`query`], [`problem`] | parts of requests and answers |

mod accept;
mod addressed;
pub mod admin;
mod body;
mod connection;
mod cors;
mod denied;
mod host;
mod listener;
mod problem;
mod publish;
mod publish_rate;
pub(crate) mod query;
mod routes;
mod service;
mod stream;
mod tickets;
mod visit;
mod watched;

pub use connection::ConnectionSettings;
pub use cors::Origins;
pub use host::Hosts;
pub use listener::{Listener, SocketSettings, bind};
pub use problem::Problem;
pub use publish_rate::PublishRate;
pub use routes::{App, public};
pub use service::Service;
