//! The Redis protocol: requests within their limits, and replies in both versions.
//!
//! | part | contents |
//! | --- | --- |
//! | [`request`] | decodes commands |
//! | [`reply`] | encodes replies in RESP2 and RESP3 |
//!
//! Read first: [`request::Request`], [`reply::Reply`].

pub(crate) mod reply;
pub mod request;
