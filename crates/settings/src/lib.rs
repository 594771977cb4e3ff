//! Types of setting values: durations, addresses, lists and secrets.
//!
//! Each type has the form in which a configuration writes it and the form in which `tidings
//! config` prints it.
//!
//! Read first: [`Seconds`], [`SecretText`], [`RedisUrl`].
//!
//! This crate must never know which settings exist, nor read a configuration.

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
