//! Events and their bytes on the wire, and the contract between bus and hub. It has no I/O and no
//! clock.
//!
//! | part | contents |
//! | --- | --- |
//! | [`position`] | entry ids, and the positions of a workspace |
//! | [`epoch`] | the life of a log: a log that begins again has another epoch |
//! | [`audience`] | the users of a private event |
//! | [`envelope`] | the form in which the publish script announces a durable event |
//! | [`frame`] | the SSE encoding of an event, made once and shared |
//! | [`control`] | the broker's own events: `connected` and `tidings.*` |
//! | [`workspace`] | workspace ids |
//! | [`identity`] | user and token ids, as data |
//! | [`log`] | pages and spans of logs, and what a page proves |
//! | [`QuestionId`] | the name of a question to all nodes |
//! | [`TraceParent`] | the trace of an event, and the span of its publisher |
//! | [`EventWatch`] | the deliveries of a sampled event on one node |
//! | [`SchemaVersion`] | the version of the schemas of a node |
//! | [`BusHandler`], [`DesiredSubscriptions`] | the contract between bus and hub |
//!
//! Read first: [`Frame`], [`Position`], [`BusHandler`], [`log::LogPage`].
//!
//! This crate must never know sockets, Redis, HTTP or a clock. It depends on no other crate of
//! ours.

pub mod audience;
mod bus_handler;
mod connection_id;
pub mod control;
mod desired_subscriptions;
pub mod envelope;
pub mod epoch;
mod event_watch;
pub mod frame;
pub mod identity;
mod jitter;
pub mod log;
pub mod position;
mod question_id;
mod random_name;
mod schema_version;
mod trace_parent;
pub mod workspace;

pub use audience::{Audience, AudienceError};
pub use bus_handler::BusHandler;
pub use connection_id::{ConnectionId, ConnectionIdError};
pub use desired_subscriptions::{DesiredSubscriptions, SubscriptionChange};
pub use epoch::{Epoch, EpochRecord};
pub use event_watch::{Deliveries, EventWatch};
pub use frame::Frame;
pub use identity::{Identity, Keys, TokenId, TokenKey, UserId, UserKey};
pub use jitter::spread;
pub use position::{EntryId, LivePart, NodeId, Position};
pub use question_id::QuestionId;
pub use schema_version::SchemaVersion;
pub use trace_parent::{SpanId, TraceId, TraceParent, TraceParentError};
