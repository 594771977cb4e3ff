//! The admin token.

use std::io;
use std::path::{Path, PathBuf};

use parking_lot::RwLock;

use super::digest::SecretDigest;
use tidings_settings::{SecretText, read_regular_file};

/// The shortest token, in characters: nothing slows down guessing, so the token has to.
const CHARACTERS_MIN: usize = 16;

/// Limits the file of the token, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The token that opens the console; there may be none.
#[derive(Debug)]
pub struct AdminToken(RwLock<Option<SecretDigest>>);

/// The file of the token cannot be used. The message has no contents of the file.
#[derive(Debug, thiserror::Error)]
pub enum AdminTokenError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file has no token.
    #[error("{} has no token of at least {CHARACTERS_MIN} characters", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
    },
}

impl AdminToken {
    /// The configured token, or that of a file, which is read here. Blocks.
    ///
    /// # Errors
    ///
    /// Returns an [`AdminTokenError`] if the file has no token.
    pub fn open(token: &SecretText, file: Option<&Path>) -> Result<Self, AdminTokenError> {
        Ok(Self(RwLock::new(configured(token, file)?)))
    }

    /// Replaces the token by another one.
    pub fn replace(&self, new: Self) {
        *self.0.write() = new.0.into_inner();
    }

    /// Whether there is a token.
    pub(super) fn is_set(&self) -> bool {
        self.0.read().is_some()
    }

    /// Whether this is the token.
    pub(super) fn is(&self, given: &SecretDigest) -> bool {
        self.0.read().as_ref().is_some_and(|token| token.is(given))
    }
}

fn configured(token: &SecretText, file: Option<&Path>) -> Result<Option<SecretDigest>, AdminTokenError> {
    match file {
        Some(path) => read(path).map(Some),
        None => Ok((!token.is_empty()).then(|| SecretDigest::of(token.reveal()))),
    }
}

fn read(path: &Path) -> Result<SecretDigest, AdminTokenError> {
    let unreadable = |source| AdminTokenError::Read { path: path.to_owned(), source };
    let bytes = read_regular_file(path, FILE_BYTES_MAX).map_err(unreadable)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text")))?;
    let text = text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
    if text.chars().count() < CHARACTERS_MIN {
        return Err(AdminTokenError::TooShort { path: path.to_owned() });
    }
    Ok(SecretDigest::of(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_of_a_file_changes_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let (none, file) = (SecretText::default(), Some(&*path));
        assert!(matches!(AdminToken::open(&none, file), Err(AdminTokenError::Read { .. })));
        std::fs::write(&path, "short\n").unwrap();
        let error = AdminToken::open(&none, file).unwrap_err().to_string();
        assert!(error.contains("at least 16") && !error.contains("short\n"), "{error}");
        let (first, second) = ("first-token-of-the-node", "second-token-of-the-node");
        std::fs::write(&path, format!("{first}\n")).unwrap();
        let token = AdminToken::open(&none, file).unwrap();
        assert!(token.is_set() && token.is(&SecretDigest::of(first)));
        std::fs::write(&path, second).unwrap();
        token.replace(AdminToken::open(&none, file).unwrap());
        assert!(token.is(&SecretDigest::of(second)) && !token.is(&SecretDigest::of(first)));
        std::fs::write(&path, "").unwrap();
        assert!(AdminToken::open(&none, file).is_err());
        token.replace(AdminToken::open(&SecretText::new(first), None).unwrap());
        assert!(token.is(&SecretDigest::of(first)));
    }

    #[test]
    fn empty_text_is_no_token() {
        let token = AdminToken::open(&SecretText::default(), None).unwrap();
        assert!(!token.is_set() && !token.is(&SecretDigest::of("")));
    }
}
