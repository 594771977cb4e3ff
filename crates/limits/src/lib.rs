//! The open streams of a node: limits on their number, and the signal that closes one.
//!
//! | part | contents |
//! | --- | --- |
//! | [`registry`] | every open stream, counted by workspace and user |
//! | [`stream_guard`] | the registration of one stream, and its close signal |
//! | [`selector`] | the streams that a disconnect matches |
//! | [`address`] | connections or streams of each client address |
//! | [`holder`] | the user, token or address to which a use is counted |
//! | [`bodies`] | the memory of request bodies |
//!
//! Read first: [`StreamRegistry`], [`StreamGuard`], [`CloseSignal`].
//!
//! This crate must never know events, the hub, sockets or HTTP. It compares 16-byte keys of users
//! and tokens, not the ids.

pub mod address;
pub mod bodies;
pub mod holder;
pub mod registry;
pub mod selector;
pub mod stream_guard;

pub use address::{AddressCounts, AddressFull, AddressKey, AddressPlace};
pub use bodies::{BodyBudget, BodyReservation};
pub use holder::Holder;
pub use registry::{Candidate, StreamBound, StreamLimits, StreamRegistry};
pub use selector::Selector;
pub use stream_guard::{CloseSignal, Ending, OnClose, StreamGuard, StreamHandle};
