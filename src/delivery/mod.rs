//! Delivery: what a connection gets, from its first byte to its last.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`body`] | the stream of one client, as the body of an HTTP answer |
//! | [`drain`] | the end of all streams, spread over time |
//! | [`jitter`] | the spreading of pauses |

mod body;
mod drain;
mod jitter;

pub use body::{EndNote, Recipient, StreamBody, StreamSettings, Terms};
pub use drain::Drain;
pub use jitter::spread;
