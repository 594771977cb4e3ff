//! A token in a request, not verified yet.

use std::fmt;

use crate::{Denial, DenialReason};

/// Limits a token, in bytes. Those of identity providers have one or two thousand.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Holds a token that a client sent. Each holder of a token can use it, so `Debug` masks it and
/// there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// Parses a token.
    ///
    /// # Errors
    ///
    /// Returns a denial if the text is longer than [`TOKEN_BYTES_MAX`] or is not a `b64token` (RFC
    /// 6750 section 2.1).
    pub fn parse(text: &str) -> Result<Self, Denial> {
        let denied = |detail: String| Err(Denial::unauthenticated(DenialReason::Form, detail));
        if text.len() > TOKEN_BYTES_MAX {
            return denied(format!("the token is longer than {TOKEN_BYTES_MAX} bytes"));
        }
        let characters = text.trim_end_matches('=');
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
        if characters.is_empty() || !characters.bytes().all(allowed) {
            return denied(
                "the token is empty, or has characters that are not allowed in a token".to_owned(),
            );
        }
        Ok(Self(Box::from(text)))
    }

    /// Returns the token. Only the verifier may use it, never a message.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_bounded_and_has_allowed_characters() {
        for text in ["a", "a.b.c", "A-._~+/9==", &"x".repeat(TOKEN_BYTES_MAX)] {
            assert_eq!(Token::parse(text).unwrap().reveal(), text);
        }
        for text in ["", "==", "a b", "a\"b", "a=b", "ä", "a\0", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
            assert_eq!(Token::parse(text).unwrap_err().reason, DenialReason::Form, "{text:?}");
        }
        assert_eq!(format!("{:?}", Token::parse("s3cret").unwrap()), "Token(***)");
    }
}
