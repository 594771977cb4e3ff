//! Streams on the wire, from the first byte to the last.
//!
//! Two writers do the same: [`StreamBody`] for connections that stay with hyper, [`engine`] for
//! sockets that were taken out of hyper. Both drive [`tidings_hub::StreamLifecycle`]. The handler
//! of streams chooses the writer; the hub does not know it.
//!
//! | part | contents |
//! | --- | --- |
//! | [`body`] | the stream of one client as the body of an HTTP response |
//! | [`engine`] | the streams of many clients, written by few threads |
//! | [`settings`] | settings of all streams, and the terms of one |
//! | [`recipient`] | the addresses of a client, for its log line |
//! | [`stream_stats`] | the counts and the log line of a stream |
//! | [`stream_report`] | the state of open streams, for operators |
//! | [`event_trace`] | the streams that have an event, and those that lack it |
//! | [`until`], [`end_watch`] | the end of a stream by time, also if its client does not read |
//! | [`drain`] | the end of all streams, spread over time |
//!
//! Read first: [`StreamBody`], [`engine::Shard`], [`Terms`].
//!
//! This crate must never know the bus, authentication, routes or headers.

mod body;
mod drain;
mod end_watch;
pub mod engine;
mod event_trace;
mod recipient;
mod settings;
mod stream_report;
mod stream_stats;
mod until;

pub use body::StreamBody;
pub use drain::Drain;
pub use end_watch::EndWatch;
pub use event_trace::{EventStreams, TracedEvent};
pub use recipient::{CloseReason, Recipient};
pub use settings::{StreamSettings, Terms};
pub use stream_report::{BodyStreams, StreamList, StreamPhase, StreamReport, StreamWriter};
pub use stream_stats::END_TEXTS;
pub use until::{Until, WallClock};
