//! Who is on the other end.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// The longest user or token id, in bytes.
pub const ID_BYTES_MAX: usize = 256;

/// A user, as the app that vouches for it calls it: 1 to 256 bytes without control characters. A clone shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

/// The id of a token, its `jti` (RFC 7519 section 4.1.7): 1 to 256 bytes without control characters. A clone shares the
/// text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(Arc<str>);

/// A text is no id of a user or token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to {ID_BYTES_MAX} bytes and no control characters")]
pub struct IdError;

/// Who is on the other end, as far as it was proven.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user; `None` where nobody was named.
    pub user: Option<UserId>,
    /// The token that proved it, where it has an id.
    pub token: Option<TokenId>,
    /// When the proof ends; `None` where it does not end by itself.
    pub expires: Option<SystemTime>,
}

fn checked(text: &str) -> Result<Arc<str>, IdError> {
    let fits = (1..=ID_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits { Ok(Arc::from(text)) } else { Err(IdError) }
}

macro_rules! id {
    ($name:ident) => {
        impl $name {
            /// Checks a text and takes it as an id.
            ///
            /// # Errors
            ///
            /// [`IdError`], when it is empty, too long, or has control characters.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                checked(text).map(Self)
            }

            /// The id's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

id!(UserId);
id!(TokenId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bounded_and_have_no_control_characters() {
        for text in ["u", "auth0|507f1f77", "Jörg Müller", "a b", &"x".repeat(256)] {
            assert_eq!(UserId::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "a\nb", "a\0", "\u{85}", &"x".repeat(257)] {
            assert_eq!(TokenId::parse(text), Err(IdError), "{text:?}");
        }
    }
}
