//! Types of setting values: durations, addresses, lists and secrets.
//!
//! Each type has the form in which a configuration writes it and the form in which `tidings
//! config` prints it.
//!
//! Read first: [`Seconds`], [`SecretText`], [`RedisUrl`].
//!
//! It also reads the files that settings name: [`read_regular_file`].
//!
//! This crate must never know which settings exist, nor read a configuration.

mod fingerprint;
mod listen_address;
mod redis_url;
mod regular_file;
pub mod seconds;
mod secret_text;
mod socket_mode;
mod texts;

pub use fingerprint::Fingerprint;
pub use listen_address::{ListenAddress, NotAListenAddress};
pub use redis_url::RedisUrl;
pub use regular_file::read_regular_file;
pub use seconds::Seconds;
pub use secret_text::SecretText;
pub use socket_mode::SocketMode;
pub use texts::Texts;

/// Replaces a secret in output.
pub const MASK: &str = "***";
