//! Reading of the configured keys, with errors that name the fix.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::key::{KEYS_MAX, KeyError, VerificationKey};
use crate::jwt::config::KeySource;
use crate::{Algorithms, JwtConfig};
use tidings_settings::read_regular_file;

/// Limits a key file, in bytes: far more than any key.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The reason for which a configuration has no usable key. The message never has parts of a key.
#[derive(Debug, thiserror::Error)]
pub enum JwtSetupError {
    /// There is no algorithm.
    #[error("auth.jwt.algorithm is not set: set the algorithm of your tokens, such as RS256")]
    NoAlgorithm,
    /// There is no source of keys, or several.
    #[error(
        "tokens need exactly one of auth.jwt.secret, auth.jwt.secret_file, auth.jwt.public_key, \
         auth.jwt.public_key_file, auth.jwt.jwks_url"
    )]
    Sources,
    /// The number of key sets differs from the number of issuers.
    #[error("auth.jwt.jwks_url and auth.jwt.issuer must have the same number of entries")]
    Issuers,
    /// A file is not readable.
    #[error("{key}: cannot read {}: {reason}", path.display())]
    File {
        /// The key of the configuration, or the flag.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A key is not usable.
    #[error("{key}: {source}")]
    Key {
        /// The key of the configuration, or the flag.
        key: &'static str,
        /// The reason.
        source: KeyError,
    },
    /// A text is not the URL of a key set.
    #[error("auth.jwt.jwks_url: `{0}` is not an https URL, or an http URL of this machine")]
    Address(String),
    /// The client that fetches keys cannot be created.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Returns the one configured source of keys.
pub(super) fn source(config: &JwtConfig) -> Result<KeySource<'_>, JwtSetupError> {
    if config.algorithm.as_slice().is_empty() {
        return Err(JwtSetupError::NoAlgorithm);
    }
    match config.key_sources()[..] {
        [source] => Ok(source),
        _ => Err(JwtSetupError::Sources),
    }
}

/// Returns the keys of a source; `None` for URLs. The keys are never empty and together support
/// each algorithm, because no others exist. Reads files, and so blocks.
pub(super) fn keys(
    source: KeySource<'_>,
    algorithms: &Algorithms,
) -> Result<Option<Vec<Arc<VerificationKey>>>, JwtSetupError> {
    let at = source.key();
    let keys: Result<Vec<VerificationKey>, KeyError> = match source {
        KeySource::Secret(..) | KeySource::SecretFile(_) => {
            secrets(source)?.iter().map(|secret| VerificationKey::secret(secret, algorithms)).collect()
        }
        KeySource::PublicKey(pem) => public_keys(pem.reveal(), algorithms),
        KeySource::PublicKeyFile(paths) => {
            let texts = files(at, paths)?;
            let text: Vec<_> = texts.iter().map(|text| String::from_utf8_lossy(text)).collect();
            public_keys(&text.join("\n"), algorithms)
        }
        KeySource::Jwks(_) => return Ok(None),
    };
    let failed = |source| JwtSetupError::Key { key: at, source };
    let keys = keys.map_err(failed)?;
    if keys.len() > KEYS_MAX {
        return Err(failed(KeyError::TooMany));
    }
    if !algorithms.as_slice().iter().all(|algorithm| keys.iter().any(|key| key.suits(*algorithm))) {
        return Err(failed(KeyError::Algorithm));
    }
    Ok(Some(keys.into_iter().map(Arc::new).collect()))
}

/// Returns the keys of a text with several PEM blocks.
fn public_keys(text: &str, algorithms: &Algorithms) -> Result<Vec<VerificationKey>, KeyError> {
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        match blocks.last_mut() {
            Some(block)
                if !line.trim_start().starts_with("-----BEGIN ") || !block.contains("-----BEGIN ") =>
            {
                block.push('\n');
                block.push_str(line);
            }
            _ => blocks.push(line.to_owned()),
        }
    }
    if blocks.is_empty() {
        return Err(KeyError::NotPem);
    }
    blocks.iter().map(|block| VerificationKey::pem(block, algorithms)).collect()
}

/// Returns an error if a configured secret is shorter than its algorithms require (RFC 7518 section
/// 3.2). Reads a file, and so blocks.
///
/// # Errors
///
/// Returns a [`JwtSetupError`] if there is not exactly one source of keys, or its file is not
/// readable.
pub fn short_secret(config: &JwtConfig) -> Result<Option<JwtSetupError>, JwtSetupError> {
    let source = source(config)?;
    let least = config.algorithm.secret_bytes_min();
    let short = secrets(source)?.into_iter().find(|secret| secret.len() < least);
    Ok(short.map(|secret| {
        let source_error = KeyError::ShortSecret { found: secret.len(), least };
        JwtSetupError::Key { key: source.key(), source: source_error }
    }))
}

/// Returns each shared secret, the signing one first; empty if the source has public keys. Reads
/// files, and so blocks.
pub(super) fn secrets(source: KeySource<'_>) -> Result<Vec<Vec<u8>>, JwtSetupError> {
    match source {
        KeySource::Secret(secret, previous) => {
            let previous = Some(previous).filter(|previous| !previous.is_empty());
            Ok([Some(secret), previous].into_iter().flatten().map(|text| text.reveal().into()).collect())
        }
        KeySource::SecretFile(paths) => {
            Ok(files(source.key(), paths)?.into_iter().map(without_line_break).collect())
        }
        KeySource::PublicKey(_) | KeySource::PublicKeyFile(_) | KeySource::Jwks(_) => Ok(Vec::new()),
    }
}

/// Returns the contents of files. Empty files are left out if another one is not empty. So an
/// operator can retire a key without a change of the configuration.
fn files(key: &'static str, paths: &[String]) -> Result<Vec<Vec<u8>>, JwtSetupError> {
    let mut texts: Vec<_> =
        paths.iter().map(|path| file(key, Path::new(path))).collect::<Result<_, JwtSetupError>>()?;
    if texts.iter().any(|text| !text.trim_ascii().is_empty()) {
        texts.retain(|text| !text.trim_ascii().is_empty());
    }
    Ok(texts)
}

/// Returns the contents of a file, bounded.
pub(super) fn file(key: &'static str, path: &Path) -> Result<Vec<u8>, JwtSetupError> {
    let unreadable = |reason: String| JwtSetupError::File { key, path: path.to_owned(), reason };
    read_regular_file(path, FILE_BYTES_MAX).map_err(|error| unreadable(error.to_string()))
}

/// Removes the line break that editors and `openssl rand` add at the end of a file.
fn without_line_break(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}
