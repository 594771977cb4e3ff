//! The version of a set of schemas.

use std::fmt;

/// Names a set of schemas. Sets with the same types and the same files have the same version.
///
/// The `connected` event carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SchemaVersion([u8; 8]);

impl SchemaVersion {
    /// Creates the version from the first bytes of a digest.
    #[must_use]
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for SchemaVersion {
    /// Writes 16 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
