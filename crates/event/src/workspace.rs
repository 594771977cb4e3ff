//! The id of a workspace.

use std::fmt;
use std::sync::Arc;

/// Limits a workspace id, in bytes.
pub const WORKSPACE_ID_BYTES_MAX: usize = 128;

/// Names a workspace with 1 to 128 characters of `A-Z a-z 0-9 . _ ~ -`, the unreserved characters
/// of RFC 3986 section 2.3. Paths and channel names contain an id without escaping.
///
/// A clone shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkspaceId(Arc<str>);

/// The reason for which a text is not a workspace id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WorkspaceIdError {
    /// The text is empty.
    #[error("a workspace id has at least one character")]
    Empty,
    /// The text is longer than [`WORKSPACE_ID_BYTES_MAX`].
    #[error("a workspace id has at most {WORKSPACE_ID_BYTES_MAX} characters")]
    TooLong,
    /// The text has a character that is not allowed.
    #[error("a workspace id consists of A-Z a-z 0-9 . _ ~ -")]
    Character,
}

impl WorkspaceId {
    /// Parses an id.
    ///
    /// # Errors
    ///
    /// Returns a [`WorkspaceIdError`] that names the broken rule.
    pub fn parse(text: &str) -> Result<Self, WorkspaceIdError> {
        if text.is_empty() {
            return Err(WorkspaceIdError::Empty);
        }
        if text.len() > WORKSPACE_ID_BYTES_MAX {
            return Err(WorkspaceIdError::TooLong);
        }
        if !text.bytes().all(is_unreserved) {
            return Err(WorkspaceIdError::Character);
        }
        Ok(Self(Arc::from(text)))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether a byte is an unreserved character of RFC 3986 section 2.3.
#[must_use]
pub fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-')
}

impl fmt::Display for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::borrow::Borrow<str> for WorkspaceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_unreserved_characters_up_to_the_bound() {
        for text in ["a", "team-7", "Doc_1.v2~draft", &"x".repeat(WORKSPACE_ID_BYTES_MAX)] {
            assert_eq!(WorkspaceId::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn error_names_the_broken_rule() {
        assert_eq!(WorkspaceId::parse(""), Err(WorkspaceIdError::Empty));
        assert_eq!(WorkspaceId::parse(&"x".repeat(129)), Err(WorkspaceIdError::TooLong));
        for text in ["a b", "a/b", "a:b", "ä", "a\n", "a\0", "a%20b", "*"] {
            assert_eq!(WorkspaceId::parse(text), Err(WorkspaceIdError::Character), "{text:?}");
        }
    }
}
