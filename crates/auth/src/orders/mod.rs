//! Orders of backends: whom to disconnect, and for how long. They come over the bus, so only those who are on Redis can
//! give them.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`order`] | what an order says |
//! | [`bans`] | who is to stay away, and until when |
//! | [`desk`] | taking orders, and learning those that were missed |

pub mod bans;
pub mod desk;
pub mod order;

pub use bans::Bans;
pub use desk::{ControlInbox, DisconnectHandler};
pub use order::{ControlCommand, ControlCommandError};
