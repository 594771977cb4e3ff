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

const USER: &[u8] = b"default";

/// The password.
#[derive(Debug)]
pub(crate) struct Password(SecretText);

impl Password {
    /// An empty text is no password: every client is authenticated.
    pub(crate) fn new(text: SecretText) -> Self {
        Self(text)
    }

    /// Whether clients have to give it.
    pub(crate) fn is_needed(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether a name and a password are right. The time that it takes reveals at most whether the
    /// length is right.
    pub(crate) fn admits(&self, user: &[u8], password: &[u8]) -> bool {
        let right = !self.is_needed() || bool::from(self.0.reveal().as_bytes().ct_eq(password));
        right && user == USER
    }

    /// Whether a password without a name is right.
    pub(crate) fn admits_nameless(&self, password: &[u8]) -> bool {
        self.admits(USER, password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_password_is_the_password() {
        let password = Password::new(SecretText::new("correct horse"));
        assert!(password.is_needed() && password.admits(b"default", b"correct horse"));
        for (user, given) in [
            (&b"default"[..], &b""[..]),
            (b"default", b"correct"),
            (b"default", b"correct horse "),
            (b"default", b"Correct horse"),
            (b"Default", b"correct horse"),
            (b"", b"correct horse"),
        ] {
            assert!(!password.admits(user, given), "{given:?}");
        }
        let open = Password::new(SecretText::default());
        assert!(!open.is_needed() && open.admits(b"default", b"whatever") && !open.admits(b"other", b""));
        assert!(!format!("{password:?}").contains("horse"));
    }
}
