//! The identity of a client: ids of users and tokens.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

/// Limits a user or token id, in bytes.
pub const ID_BYTES_MAX: usize = 256;

/// Names a user as the app or token names it: 1 to 256 bytes without control characters. A clone
/// shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

/// Holds the id of a token, its `jti` (RFC 7519 section 4.1.7): 1 to 256 bytes without control
/// characters. A clone shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(Arc<str>);

/// Replaces an id in the data of each stream: the first 16 bytes of its SHA-256 (FIPS 180-4).
///
/// It needs no memory beside these bytes. To pass for another user, an attacker has to find an id
/// with the same 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct IdentityKey(NonZeroU64, u64);

impl IdentityKey {
    fn of(text: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let (halves, _) = digest.as_chunks::<8>();
        // Without zero, an `Option` of a key has the size of a key.
        Self(
            NonZeroU64::new(u64::from_be_bytes(halves[0])).unwrap_or(NonZeroU64::MIN),
            u64::from_be_bytes(halves[1]),
        )
    }
}

/// Replaces a [`UserId`] in the data of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserKey(IdentityKey);

/// Replaces a [`TokenId`] in the data of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenKey(IdentityKey);

/// The user and token of a client, as each open stream stores them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keys {
    /// The key of the user, if authentication found one.
    pub user: Option<UserKey>,
    /// The key of the token, if it has an id.
    pub token: Option<TokenKey>,
}

/// Reports that a text is not the id of a user or token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to {ID_BYTES_MAX} bytes and no control characters")]
pub struct IdError;

/// The proven identity of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user; `None` if authentication found none.
    pub user: Option<UserId>,
    /// The token that proved it, if it has an id.
    pub token: Option<TokenId>,
    /// The time at which the proof expires; `None` if it does not expire.
    pub expires: Option<SystemTime>,
}

impl Identity {
    /// Returns the keys that a stream stores.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys { user: self.user.as_ref().map(UserId::key), token: self.token.as_ref().map(TokenId::key) }
    }
}

fn checked(text: &str) -> Result<Arc<str>, IdError> {
    let fits = (1..=ID_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits { Ok(Arc::from(text)) } else { Err(IdError) }
}

macro_rules! id {
    ($name:ident, $key:ident) => {
        impl $name {
            /// Parses an id.
            ///
            /// # Errors
            ///
            /// Returns [`IdError`] if the text is empty, has more than [`ID_BYTES_MAX`] bytes or
            /// has control characters.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                checked(text).map(Self)
            }

            /// Returns the key of the id.
            #[must_use]
            pub fn key(&self) -> $key {
                $key(IdentityKey::of(&self.0))
            }

            /// Returns the text.
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

id!(UserId, UserKey);
id!(TokenId, TokenKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_identifies_one_id_in_16_bytes() {
        let key = |text: &str| UserId::parse(text).unwrap().key();
        assert_eq!(key("ann"), key("ann"));
        assert!(key("ann") != key("Ann") && key("ann") != key("ann "));
        assert_eq!((size_of::<Option<UserKey>>(), size_of::<Keys>()), (16, 32));
        // The first bytes of the SHA-256 of "abc" (FIPS 180-4, appendix of examples).
        assert_eq!(
            key("abc").0,
            IdentityKey(NonZeroU64::new(0xba78_16bf_8f01_cfea).unwrap(), 0x4141_40de_5dae_2223)
        );
    }

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
