//! SSE clients, written from the standard and not from the product.
//!
//! [`SseClient`] is one request; [`EventSource`] reconnects as a browser does.

mod body;
mod client;
mod event_source;
mod parser;
mod record;

pub use client::{Connect, SseClient};
pub use event_source::EventSource;
pub use parser::Event;
pub use record::End;
