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
mod tests {
    use serde_json::json;

    use super::super::tests::support::Pair;
    use super::*;

    fn algorithms(text: &str) -> Algorithms {
        serde_json::from_value(text.into()).unwrap()
    }

    fn parse(keys: &Value, algorithms: &Algorithms) -> Result<KeySet, KeySetError> {
        let text = json!({ "keys": keys }).to_string();
        KeySet::parse(text.as_bytes(), algorithms, SystemTime::now())
    }

    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        jwk[name] = value;
        jwk
    }

    /// A key serves its own kind of algorithm alone.
    #[test]
    fn only_usable_keys_are_kept() {
        let all = algorithms("RS256,ES256,ES384,EdDSA");
        let rsa = Pair::Rsa.jwk("a");
        for good in [
            rsa.clone(),
            with(rsa.clone(), "use", json!("sig")),
            with(rsa.clone(), "key_ops", json!(["verify", "sign"])),
            with(rsa.clone(), "alg", json!("RS256")),
            Pair::P256.jwk("a"),
            Pair::P384.jwk("a"),
            Pair::Ed25519.jwk("a"),
        ] {
            assert_eq!(parse(&json!([good]), &all).map(|set| set.len()), Ok(1), "{good}");
        }
        let short = json!("AAAA");
        for bad in [
            with(rsa.clone(), "use", json!("enc")),
            with(rsa.clone(), "key_ops", json!(["encrypt"])),
            with(rsa.clone(), "alg", json!("RS512")),
            with(rsa.clone(), "alg", json!("RSA-OAEP")),
            with(rsa.clone(), "n", short.clone()),
            with(rsa.clone(), "n", json!("A".repeat(1400))),
            with(rsa.clone(), "n", json!("***")),
            with(rsa.clone(), "kid", json!("x".repeat(257))),
            with(rsa, "kty", json!("oct")),
            json!({ "kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "a" }),
            with(Pair::P256.jwk("a"), "x", short.clone()),
            with(Pair::P256.jwk("a"), "crv", json!("P-384")),
            with(Pair::P256.jwk("a"), "crv", json!("P-521")),
            with(Pair::Ed25519.jwk("a"), "x", short),
            with(Pair::Ed25519.jwk("a"), "x", json!("")),
            with(Pair::Ed25519.jwk("a"), "crv", json!("X25519")),
            json!({ "kty": 7 }),
            json!("a"),
        ] {
            assert_eq!(parse(&json!([bad]), &all).map(|set| set.len()), Err(KeySetError::Empty(1)), "{bad}");
            // A usable key beside it is kept.
            assert_eq!(parse(&json!([bad, Pair::P256.jwk("b")]), &all).map(|set| set.len()), Ok(1));
        }
        assert!(parse(&json!([Pair::P256.jwk("a")]), &algorithms("RS256")).is_err());
        for text in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
            assert_eq!(
                KeySet::parse(text.as_bytes(), &all, SystemTime::now()).err(),
                Some(KeySetError::Form)
            );
        }
    }

    #[test]
    fn token_selects_keys_by_id_and_algorithm() {
        let all = algorithms("RS256,RS512,ES256");
        let only = with(Pair::Rsa.jwk("c"), "alg", json!("RS512"));
        let set = parse(&json!([Pair::Rsa.jwk("a"), Pair::P256.jwk("a"), Pair::P256.jwk("b"), only]), &all)
            .unwrap();
        let count = |id, algorithm| set.candidates(id, algorithm).len();
        assert_eq!(count(Some("a"), Algorithm::RS256), 1);
        assert_eq!(count(Some("a"), Algorithm::ES256), 1);
        assert_eq!(count(Some("b"), Algorithm::RS256), 0);
        assert_eq!(count(Some("c"), Algorithm::RS256), 0);
        assert_eq!(count(Some("c"), Algorithm::RS512), 1);
        assert_eq!(count(None, Algorithm::ES256), 2);
        assert_eq!(count(Some("d"), Algorithm::ES256), 0);
        let many: Vec<Value> = (0..100).map(|n| Pair::P256.jwk(&n.to_string())).collect();
        let set = parse(&many.into(), &all).unwrap();
        assert_eq!((set.len(), set.candidates(None, Algorithm::ES256).len()), (KEYS_MAX, TRIES_MAX));
    }
}
