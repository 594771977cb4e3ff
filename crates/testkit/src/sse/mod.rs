//! SSE clients, written from the standard and not from the product.
//!
//! [`SseClient`] is one request; [`EventSource`] reconnects as a browser does. Either fails its
//! test at a block without data.

mod body;
mod client;
mod event_source;
mod parser;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use body::Framing;
pub(crate) use client::read_head;
pub use client::{Connect, SseClient};
pub use event_source::EventSource;
pub use parser::{Event, check_blocks};
pub use record::End;
