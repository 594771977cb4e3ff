//! Properties that hold for every input: one function for each kind of input from the network.
//!
//! Each takes any bytes and panics if a property does not hold. The fuzzer in `fuzz/` calls them
//! with libFuzzer. `tests/properties` calls them with the same corpus and with mutations of it.
//!
//! | module | input |
//! | --- | --- |
//! | `streams` | `Last-Event-ID`, the query, and the encoder of events |
//! | `bus` | the envelope, requests to the embedded bus, control commands, and questions of nodes |
//! | `proxies` | the headers of proxies |
//! | `access` | tokens and the places where requests carry them |
//!
//! Read first: [`frame`], [`resp_requests`].
//!
//! This crate must never see more of the other crates than their public API.

mod access;
mod bus;
mod proxies;
mod streams;

pub use access::{token, token_places};
pub use bus::{control_command, envelope, node_question, resp_requests};
pub use proxies::forwarded;
pub use streams::{frame, last_event_id, query};
