//! Tokens: JWTs (RFC 7519) in the compact form of RFC 7515, signed by somebody trusted.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`bearer`] | finds the token of a request |
//! | [`token`] | a token that was found and proves nothing yet |
//! | `form` | takes a token apart |
//! | `key`, `key_set` | keys and sets of keys (RFC 7517), and which algorithm each is for |
//! | `material`, `configured` | reads the configured keys, and files of keys again when they change |
//! | `source`, `fetch` | a set at an address: fetched, kept, fetched again |
//! | `claims` | what a token says, and the rules for it |
//! | [`verifier`] | puts these together |
//! | [`explain`] | the same, step by step, for people |
//! | [`mint`] | makes tokens for development |
//!
//! Two rules stand above all: the algorithm is one of those in the configuration, whatever the token says; and a key is
//! used with the algorithms of its own kind alone.

mod algorithms;
pub mod bearer;
mod claims;
pub mod config;
mod configured;
pub mod explain;
mod fetch;
mod form;
mod key;
mod key_set;
mod material;
pub mod mint;
mod source;
#[cfg(test)]
mod tests;
pub mod token;
pub mod verifier;

pub use algorithms::Algorithms;
pub use bearer::TokenSources;
pub use config::JwtConfig;
pub use key::KeyError;
pub use material::{JwtSetupError, short_secret};
pub use token::Token;
pub use verifier::{VerifiedToken, Verifier};
