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
//! | [`workspace`] | ids of workspaces |
//! | [`identity`] | ids of users and tokens, as data |
//! | [`log`] | parts of logs, and what they prove |
//! | [`BusHandler`], [`DesiredSubscriptions`] | the contract between bus and hub |

pub mod audience;
mod bus_handler;
mod connection_id;
pub mod control;
mod desired_subscriptions;
pub mod envelope;
pub mod epoch;
pub mod frame;
pub mod identity;
mod jitter;
pub mod log;
pub mod position;
mod random_name;
pub mod workspace;

pub use audience::{Audience, AudienceError};
pub use bus_handler::BusHandler;
pub use connection_id::{ConnectionId, ConnectionIdError};
pub use desired_subscriptions::{DesiredSubscriptions, SubscriptionChange};
pub use epoch::{Epoch, EpochRecord};
pub use frame::Frame;
pub use identity::{Identity, Keys, TokenId, TokenKey, UserId, UserKey};
pub use jitter::spread;
pub use position::{EntryId, LivePart, NodeId, Position};
