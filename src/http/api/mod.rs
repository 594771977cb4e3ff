//! The public paths and their handlers.
//!
//! | part | contents |
//! | --- | --- |
//! | [`routes`] | the paths, each with its handler |
//! | [`stream`] | `GET` and `HEAD` of a workspace's events, and whether a client may read them |
//! | [`position`] | `GET` of the head of a workspace's log |
//! | [`publish`], [`publish_rate`] | `POST` of events, and its rate limit |
//! | [`tickets`] | `POST` of a ticket |
//!
//! Read first: [`routes::public`], [`stream::StreamHandler`].

pub(crate) mod position;
pub(crate) mod publish;
pub(crate) mod publish_rate;
pub(crate) mod routes;
pub(crate) mod stream;
pub(crate) mod tickets;
