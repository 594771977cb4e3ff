//! Who may read and write which workspace. It stands before the hub, which knows nothing of it.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`door`] | the decision |
//! | [`scope`] | which workspaces somebody may read and write |
//! | [`jwt`] | tokens that somebody trusted has signed |
//! | [`denial`] | why somebody is not let in, in words that may be shown |
//! | [`forward`] | asking the app |
//! | [`recheck`] | asking again for open streams |
//! | [`tickets`], [`ticket_rate`] | one-use words for addresses, where tokens have no place |
//! | [`orders`] | backends disconnecting somebody |

#[cfg(test)]
mod defaults;
pub mod denial;
pub mod door;
pub mod forward;
mod https;
pub mod jwt;
pub mod orders;
pub mod recheck;
pub mod scope;
mod ticket_rate;
pub mod tickets;

pub use denial::{Denial, DenialKind, DenialReason};
pub use door::{Authenticator, Credentials, Grant};
pub use forward::{ForwardConfig, ForwardUrl};
pub use jwt::{Algorithms, JwtConfig};
pub use scope::{Action, Pattern, Scope};
