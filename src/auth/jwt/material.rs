//! Reads the configured key, and says what is wrong with it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::key::{Key, KeyError};
use crate::config::{Algorithms, JwtConfig, jwt::KeySource};

/// The largest file that is read for a key: far more than any key, far less than what hurts.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A verifier or minter cannot be made from a configuration. Nothing of a key is ever in the message.
#[derive(Debug, thiserror::Error)]
pub enum JwtSetupError {
    /// No algorithm.
    #[error("auth.jwt.algorithm is not set")]
    NoAlgorithm,
    /// No key, or several.
    #[error(
        "tokens need exactly one of auth.jwt.secret, auth.jwt.secret_file, auth.jwt.public_key, \
         auth.jwt.public_key_file, auth.jwt.jwks_url"
    )]
    Sources,
    /// Several sets of keys and not as many issuers.
    #[error("auth.jwt.jwks_url and auth.jwt.issuer must have as many entries")]
    Issuers,
    /// A file cannot be read.
    #[error("{key}: cannot read {}: {reason}", path.display())]
    File {
        /// Who names it: a key of the configuration, or a flag.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key cannot be used.
    #[error("{key}: {source}")]
    Key {
        /// Who gives it: a key of the configuration, or a flag.
        key: &'static str,
        /// Why.
        source: KeyError,
    },
    /// Not the address of a set of keys.
    #[error("auth.jwt.jwks_url: `{0}` is no address of keys")]
    Address(String),
    /// The client for fetching keys cannot be made.
    #[error("cannot prepare TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The one source of keys that a configuration has, with its algorithms.
pub(super) fn source(config: &JwtConfig) -> Result<KeySource<'_>, JwtSetupError> {
    if config.algorithm.as_slice().is_empty() {
        return Err(JwtSetupError::NoAlgorithm);
    }
    match config.key_sources()[..] {
        [source] => Ok(source),
        _ => Err(JwtSetupError::Sources),
    }
}

/// The key of a source that is no address. Reads a file and thus blocks.
pub(super) fn key(source: KeySource<'_>, algorithms: &Algorithms) -> Result<Option<Key>, JwtSetupError> {
    let at = source.key();
    let key = match source {
        KeySource::Secret(_) | KeySource::SecretFile(_) => match secret(source)? {
            Some(secret) => Key::secret(&secret, algorithms),
            None => return Ok(None),
        },
        KeySource::PublicKey(pem) => Key::pem(pem.reveal(), algorithms),
        KeySource::PublicKeyFile(path) => Key::pem(&String::from_utf8_lossy(&file(at, path)?), algorithms),
        KeySource::Jwks(_) => return Ok(None),
    };
    key.map(Some).map_err(|source| JwtSetupError::Key { key: at, source })
}

/// Whether the configured secret is shorter than its algorithms want (RFC 7518 section 3.2). Reads a file and thus blocks.
///
/// # Errors
///
/// [`JwtSetupError`], when there is no one source of keys, or its file cannot be read.
pub fn short_secret(config: &JwtConfig) -> Result<Option<JwtSetupError>, JwtSetupError> {
    let source = source(config)?;
    let least = config.algorithm.secret_bytes_min();
    let short = secret(source)?.filter(|secret| secret.len() < least);
    Ok(short.map(|secret| {
        let source_error = KeyError::ShortSecret { found: secret.len(), least };
        JwtSetupError::Key { key: source.key(), source: source_error }
    }))
}

/// The bytes of a shared secret; `None` where the source gives public keys. Reads a file and thus blocks.
pub(super) fn secret(source: KeySource<'_>) -> Result<Option<Vec<u8>>, JwtSetupError> {
    match source {
        KeySource::Secret(secret) => Ok(Some(secret.reveal().as_bytes().to_vec())),
        KeySource::SecretFile(path) => file(source.key(), path).map(|bytes| Some(without_line_break(bytes))),
        KeySource::PublicKey(_) | KeySource::PublicKeyFile(_) | KeySource::Jwks(_) => Ok(None),
    }
}

/// The bytes of a file, bounded.
pub(super) fn file(key: &'static str, path: &Path) -> Result<Vec<u8>, JwtSetupError> {
    let unreadable = |reason: String| JwtSetupError::File { key, path: path.to_owned(), reason };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable("it is larger than 64 KiB, and so no key".to_owned()));
    }
    Ok(bytes)
}

/// Editors and `openssl rand` end a file with a line break, which is no part of the secret.
fn without_line_break(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}
