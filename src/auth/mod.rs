//! Who may read and write which workspace. It stands before the hub, which knows nothing of it.
//!
//! | part | what it holds |
//! | --- | --- |
//! | [`identity`] | who is on the other end, as far as it was proven |
//! | [`scope`] | which workspaces somebody may read and write |
//! | [`jwt`] | tokens that somebody trusted has signed |
//! | [`denial`] | why somebody is not let in, in words that may be shown |

pub mod denial;
pub mod identity;
pub mod jwt;
pub mod scope;

pub use denial::{Check, Denial, Standing};
pub use identity::{Identity, TokenId, UserId};
pub use scope::{Action, Pattern, Scope};
