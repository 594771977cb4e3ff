//! Responses that several handlers share.
//!
//! | part | contents |
//! | --- | --- |
//! | [`problem`] | errors as `application/problem+json` (RFC 9457) |
//! | [`event_stream`] | the head of a stream, and streams of one frame |
//! | [`denied`] | the response to a request that authentication denies |
//! | [`cors`] | the origins that may read streams and publish, and the headers for them |
//!
//! Read first: [`problem::Problem`], [`cors::Origins`].

pub(crate) mod cors;
pub(crate) mod denied;
pub(crate) mod event_stream;
pub(crate) mod problem;
pub(crate) mod refusal;
pub(crate) mod rejections;
