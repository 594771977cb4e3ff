//! Delivery: what a connection gets, from its first byte to its last.
//!
//! Two writers do the same: [`body`] for connections that stay with hyper, [`engine`] for those whose socket was taken out of
//! it. Nothing before delivery knows which one serves a client.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`body`] | the stream of one client, as the body of an HTTP answer |
//! | [`engine`] | the streams of many clients, written to their sockets by few threads |
//! | [`settings`] | what all streams have in common, and the terms of one |
//! | [`recipient`] | whom a stream goes to |
//! | [`connected`] | the first word once a workspace is confirmed |
//! | [`stream_stats`] | what is kept of a stream for its line in the log |
//! | [`until`], [`end_watch`] | when a stream ends by itself, also where its client does not read |
//! | [`drain`] | the end of all streams, spread over time |
//! | [`jitter`] | the spreading of pauses |

mod body;
mod drain;
mod end_watch;
pub mod engine;
mod recipient;
mod settings;
mod stream_stats;
mod until;

pub use body::StreamBody;
pub use drain::Drain;
pub use end_watch::EndWatch;
pub use recipient::{CloseReason, Recipient};
pub use settings::{StreamSettings, Terms};
pub use until::{Until, WallClock};
