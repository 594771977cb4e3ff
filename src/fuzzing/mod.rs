//! Properties that hold for every input, however hostile: one function for each kind of input from
//! the network.
//!
//! Each takes any bytes and panics if a property does not hold. The fuzzer in `fuzz/` calls them,
//! and so do the tests below, with the same corpus and mutations of it. They are in no other build.
//!
//! | module | input |
//! | --- | --- |
//! | `streams` | `Last-Event-ID`, the query, and the encoder of events |
//! | `bus` | the envelope, the embedded bus' requests, the disconnects of backends |
//! | `proxies` | the headers of proxies |
//! | `access` | tokens and the places where requests carry them |

mod access;
mod bus;
#[cfg(test)]
mod mutation;
mod proxies;
mod streams;
#[cfg(test)]
mod tests;

pub use access::{token, token_places};
pub use bus::{envelope, order, resp_requests};
pub use proxies::forwarded;
pub use streams::{frame, last_event_id, query};
