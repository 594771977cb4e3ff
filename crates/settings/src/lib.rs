//! The kinds of values that settings have: durations, addresses, paths, lists and secrets, each with how it is written in a
//! configuration and how it is shown. Nothing of what they configure is known here.
//!
//! Read first: [`Seconds`], [`SecretText`], [`RedisUrl`].

mod fingerprint;
mod redis_url;
pub mod seconds;
mod secret_text;
mod texts;

pub use fingerprint::Fingerprint;
pub use redis_url::RedisUrl;
pub use seconds::Seconds;
pub use secret_text::SecretText;
pub use texts::Texts;

/// Replaces a secret in output.
pub const MASK: &str = "***";
