//! Who may read and write which workspace. It stands before the hub, which knows nothing of it.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`authenticator`] | the decision |
//! | [`scope`] | which workspaces somebody may read and write |
//! | [`jwt`] | tokens that somebody trusted has signed |
//! | [`denial`] | why somebody is not let in, in words that may be shown |
//! | [`forward`] | asking the app |
//! | [`recheck`] | asking again for open streams |
//! | [`tickets`], [`ticket_rate`] | one-use words for addresses, where tokens have no place |
//! | [`control`] | backends disconnecting somebody |

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
