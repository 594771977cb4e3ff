//! Tokens: signed JWTs (RFC 7519) in the compact form of RFC 7515.
//!
//! | part | contents |
//! | --- | --- |
//! | [`bearer`] | finds the token of a request |
//! | [`token`] | a token that is not verified yet |
//! | `form` | parses a token |
//! | `key`, `key_set` | keys and key sets (RFC 7517), with their algorithms |
//! | `material`, `configured` | reads the configured keys, and key files again when they change |
//! | `source`, `fetch` | a key set at a URL: fetched, stored, fetched again |
//! | `claims` | the claims of a token, and the rules for them |
//! | [`verifier`], `method` | combines these parts; replaces their settings |
//! | [`explain`] | the checks step by step, for people |
//! | [`mint`] | creates tokens for development |
//!
//! Two rules come first. The algorithm of a token is one of the configured ones. A key is used only
//! with the algorithms of its own kind.

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
mod method;
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
pub(crate) use method::CurrentTokens;
pub use method::TokenMethod;
pub use token::Token;
pub use verifier::{VerifiedToken, Verifier};
