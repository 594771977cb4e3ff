//! The open streams of this node: how many there may be, whose they are, and how one is told to end.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`address`] | how many connections or streams each client address has |
//! | [`bodies`] | the memory that bodies of requests take |
//! | [`holder`] | the client that something is counted for |
//! | [`registry`] | every open stream, counted by workspace, user and address |
//! | [`stream_guard`] | a stream's place among them, and the word that ends it |
//! | [`selector`] | which streams are meant by a backend that ends some |

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
