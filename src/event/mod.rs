//! Events: how they are named, what they carry, and the bytes that go out for them. All of it is pure.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`position`] | ids of events and places in a workspace's order |
//! | [`epoch`] | which of the logs that had a name one after the other |
//! | [`audience`] | who may see an event that is not for everybody |
//! | [`envelope`] | the wire form in which the publish script announces a logged event |
//! | [`frame`] | the SSE encoding of an event, made once and shared |
//! | [`control`] | the broker's own `tidings.*` events |

pub mod audience;
mod connection_id;
pub mod control;
pub mod envelope;
pub mod epoch;
pub mod frame;
pub mod position;
mod random_name;

pub use audience::{Audience, AudienceError};
pub use connection_id::{ConnectionId, ConnectionIdError};
pub use epoch::{Epoch, EpochRecord};
pub use frame::Frame;
pub use position::{EntryId, LivePart, NodeId, Position};
