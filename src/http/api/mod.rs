//! The public paths and their handlers.
//!
//! | part | contents |
//! | --- | --- |
//! | [`routes`] | the paths, and what their handlers share |
//! | [`stream`] | `GET` and `HEAD` of a workspace's events |
//! | [`publish`], [`publish_rate`] | `POST` of events, and its rate limit |
//! | [`tickets`] | `POST` of a ticket |
//!
//! Read first: [`routes::PublicApi`], [`stream::open`].

pub(crate) mod publish;
pub(crate) mod publish_rate;
pub(crate) mod routes;
pub(crate) mod stream;
pub(crate) mod tickets;
