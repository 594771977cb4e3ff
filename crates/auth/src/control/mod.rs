//! Orders of backends: whom to disconnect, and for how long. They come over the bus, so only those who are on Redis can
//! give them.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`command`] | what an order says |
//! | [`bans`] | who is to stay away, and until when |
//! | [`disconnect_handler`] | taking orders, and learning those that were missed |

pub mod bans;
pub mod command;
pub mod disconnect_handler;

pub use bans::Bans;
pub use command::{ControlCommand, ControlCommandError};
pub use disconnect_handler::{ControlInbox, DisconnectHandler};
