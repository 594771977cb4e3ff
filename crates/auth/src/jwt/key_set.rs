//! A set of keys (RFC 7517 section 5).

use std::sync::Arc;
use std::time::SystemTime;

use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::key::{KEYS_MAX as TRIES_MAX, VerificationKey};
use crate::Algorithms;

/// Limits the keys of a set. Most providers publish two or three, some a dozen.
const KEYS_MAX: usize = 64;

/// Holds the usable keys of a URL, as of one time.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Arc<VerificationKey>>,
    /// The time of the request.
    pub(super) requested: SystemTime,
}

/// The reason for which a text is not a usable key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeySetError {
    /// The text is not the JSON of a set.
    #[error("the response is not a JSON object with a list of `keys`")]
    Form,
    /// The set is empty, or none of its keys is usable.
    #[error("none of its {0} keys is for signatures and supports auth.jwt.algorithm")]
    Empty(usize),
}

impl KeySet {
    /// Parses a set and keeps the usable keys. It skips others, because sets also have keys for
    /// other purposes.
    pub(super) fn parse(
        text: &[u8],
        algorithms: &Algorithms,
        requested: SystemTime,
    ) -> Result<Self, KeySetError> {
        let set: Value = serde_json::from_slice(text).map_err(|_| KeySetError::Form)?;
        let raw = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Form)?;
        let usable = raw.iter().filter_map(|raw| VerificationKey::jwk(raw, algorithms).ok());
        let keys: Vec<Arc<VerificationKey>> = usable.take(KEYS_MAX).map(Arc::new).collect();
        if keys.is_empty() { Err(KeySetError::Empty(raw.len())) } else { Ok(Self { keys, requested }) }
    }

    /// Returns the keys that may have signed a token: those with the token's key id or, without an
    /// id, those that support its algorithm.
    pub(super) fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<Arc<VerificationKey>> {
        let fits = |key: &&Arc<VerificationKey>| {
            key.suits(algorithm) && id.is_none_or(|id| key.id.as_deref() == Some(id))
        };
        self.keys.iter().filter(fits).take(TRIES_MAX).map(Arc::clone).collect()
    }

    /// Returns the number of keys, at least one.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests;
