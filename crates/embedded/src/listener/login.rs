//! The password of Redis clients, and the commands before it.
//!
//! There is one user, `default`, as in a Redis with `requirepass`.

use std::time::Duration;

use subtle::ConstantTimeEq as _;

use tidings_settings::SecretText;

/// The time after which a client without the password is disconnected. Libraries send it with
/// their first command.
pub(crate) const LOGIN_TIME: Duration = Duration::from_secs(10);

/// The most arguments of a command before the password was given, as in Redis.
pub(crate) const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;

/// The longest argument before the password was given, in bytes, as in Redis.
pub(crate) const UNAUTHENTICATED_ARGUMENT_BYTES_MAX: usize = 16 * 1024;

/// The most bytes that wait for a client that has not given the password. Only refusals do.
pub(crate) const UNAUTHENTICATED_OUTPUT_BYTES: usize = 64 * 1024;

/// The name of the one user.
pub(crate) const USER: &[u8] = b"default";

/// Whether a client's name and password are right. An empty password is none: every client's is
/// right. The time that it takes reveals at most whether the length is right.
pub(crate) fn admits(password: &SecretText, user: &[u8], given: &[u8]) -> bool {
    let is_right = password.is_empty() || bool::from(password.reveal().as_bytes().ct_eq(given));
    is_right && user == USER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_password_is_the_password() {
        let password = SecretText::new("correct horse");
        assert!(admits(&password, b"default", b"correct horse"));
        for (user, given) in [
            (&b"default"[..], &b""[..]),
            (b"default", b"correct"),
            (b"default", b"correct horse "),
            (b"default", b"Correct horse"),
            (b"Default", b"correct horse"),
            (b"", b"correct horse"),
        ] {
            assert!(!admits(&password, user, given), "{given:?}");
        }
        let none = SecretText::default();
        assert!(admits(&none, b"default", b"whatever") && !admits(&none, b"other", b""));
    }
}
