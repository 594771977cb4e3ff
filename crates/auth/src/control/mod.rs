//! Control commands: backends disconnect and ban clients. Commands come over the bus, so only
//! programs with access to Redis can send them.
//!
//! | part | contents |
//! | --- | --- |
//! | [`command`] | parsing a command |
//! | [`bans`] | the bans of a node |
//! | [`disconnect_handler`] | applying commands, and reading those that were missed |

pub mod bans;
pub mod command;
pub mod disconnect_handler;

pub use bans::Bans;
pub use command::{ControlCommand, ControlCommandError};
pub use disconnect_handler::{ControlInbox, DisconnectHandler};
