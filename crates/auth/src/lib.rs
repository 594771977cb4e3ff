//! Authentication and permission: which workspaces a request may read and write.
//!
//! | part | contents |
//! | --- | --- |
//! | [`authenticator`] | the decision about one request |
//! | [`scope`] | patterns of workspaces that a user may read or write |
//! | [`jwt`] | tokens and the keys that verify them |
//! | [`forward`] | forward auth: requests to the app |
//! | [`recheck`] | repeated requests to the app for open streams |
//! | [`tickets`], [`ticket_rate`] | tickets, and the rate at which a client may get them |
//! | [`control`] | disconnects and bans |
//! | [`denial`] | the check that failed, with a text for the client |
//!
//! Read first: [`Authenticator`], [`Credentials`], [`Denial`], [`control::DisconnectHandler`].
//!
//! This crate must never know the hub, delivery, routes or responses.

pub mod authenticator;
pub mod control;
#[cfg(test)]
mod defaults;
pub mod denial;
pub mod forward;
mod https;
pub mod jwt;
pub mod recheck;
pub mod scope;
mod ticket_rate;
pub mod tickets;

pub use authenticator::{Authenticator, Credentials, Grant};
pub use denial::{Denial, DenialKind, DenialReason};
pub use forward::{ForwardConfig, ForwardUrl};
pub use jwt::{Algorithms, JwtConfig};
pub use scope::{Action, Pattern, Scope};
