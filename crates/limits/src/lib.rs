//! The open streams of this node: how many there may be, whose they are, and how one is told to end.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`address`] | how many connections or streams each client address has |
//! | [`bodies`] | the memory that bodies of requests take |
//! | [`holder`] | the client that something is counted for |
//! | [`open`] | every open stream, counted by workspace, user and address |
//! | [`lease`] | a stream's place among them, and the word that ends it |
//! | [`selector`] | which streams are meant by a backend that ends some |

pub mod address;
pub mod bodies;
pub mod holder;
pub mod lease;
pub mod open;
pub mod selector;

pub use address::{AddressCounts, AddressFull, AddressKey, AddressPlace};
pub use bodies::{BodyBudget, BodyRoom};
pub use holder::Holder;
pub use lease::{CloseSignal, Ending, OnClose, StreamGuard, StreamHandle};
pub use open::{Candidate, StreamBound, StreamLimits, StreamRegistry};
pub use selector::Selector;
