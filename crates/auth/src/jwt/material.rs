//! Reads the configured key, and says what is wrong with it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::key::{KEYS_MAX, KeyError, VerificationKey};
use crate::jwt::config::KeySource;
use crate::{Algorithms, JwtConfig};

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

/// The keys of a source that is no address; never none. Together they suit each algorithm: there are no others for the rest.
/// Reads files and thus blocks.
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

/// The keys of a text that has one PEM after the other.
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

/// Whether a configured secret is shorter than its algorithms want (RFC 7518 section 3.2). Reads a file and thus blocks.
///
/// # Errors
///
/// [`JwtSetupError`], when there is no one source of keys, or its file cannot be read.
pub fn short_secret(config: &JwtConfig) -> Result<Option<JwtSetupError>, JwtSetupError> {
    let source = source(config)?;
    let least = config.algorithm.secret_bytes_min();
    let short = secrets(source)?.into_iter().find(|secret| secret.len() < least);
    Ok(short.map(|secret| {
        let source_error = KeyError::ShortSecret { found: secret.len(), least };
        JwtSetupError::Key { key: source.key(), source: source_error }
    }))
}

/// The bytes of each shared secret, the one that signs first; none where the source gives public keys. Reads files and thus
/// blocks.
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

/// The bytes of files, without those that are empty where another is not: so a key is retired without a change of the
/// configuration.
fn files(key: &'static str, paths: &[String]) -> Result<Vec<Vec<u8>>, JwtSetupError> {
    let mut texts: Vec<_> =
        paths.iter().map(|path| file(key, Path::new(path))).collect::<Result<_, JwtSetupError>>()?;
    if texts.iter().any(|text| !text.trim_ascii().is_empty()) {
        texts.retain(|text| !text.trim_ascii().is_empty());
    }
    Ok(texts)
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
