//! `auth.jwt.algorithm`: the accepted signature algorithms.

use std::fmt;

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Lists the accepted signature algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1), each once.
///
/// Either all use a shared secret or none does, so that a public key is never used as a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Algorithms(Vec<Algorithm>);

impl Algorithms {
    /// Creates a list; returns `None` if it mixes shared secrets and public keys, or has an
    /// algorithm twice.
    #[must_use]
    pub fn new(algorithms: Vec<Algorithm>) -> Option<Self> {
        let twice = algorithms.iter().enumerate().any(|(at, one)| algorithms[..at].contains(one));
        let secrets = algorithms.iter().filter(|one| uses_secret(**one)).count();
        (!twice && (secrets == 0 || secrets == algorithms.len())).then_some(Self(algorithms))
    }

    /// Returns the algorithms in order; empty if none is configured.
    #[must_use]
    pub fn as_slice(&self) -> &[Algorithm] {
        &self.0
    }

    /// Returns whether they use a shared secret; `None` for an empty list.
    #[must_use]
    pub fn use_secret(&self) -> Option<bool> {
        self.0.first().map(|first| uses_secret(*first))
    }

    /// Returns the least length of a shared secret in bytes: that of the longest hash (RFC 7518
    /// section 3.2).
    #[must_use]
    pub fn secret_bytes_min(&self) -> usize {
        let bytes = |algorithm: &Algorithm| match algorithm {
            Algorithm::HS512 => 64,
            Algorithm::HS384 => 48,
            _ => 32,
        };
        self.0.iter().map(bytes).max().unwrap_or(32)
    }
}

fn uses_secret(algorithm: Algorithm) -> bool {
    algorithm.family() == AlgorithmFamily::Hmac
}

impl fmt::Display for Algorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, algorithm) in self.0.iter().enumerate() {
            // The names of the variants are those of RFC 7518.
            write!(f, "{}{algorithm:?}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A list, or one text with commas between the algorithms, as in an environment variable.
#[derive(Deserialize)]
#[serde(untagged)]
enum AlgorithmsText {
    Text(String),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for Algorithms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = || {
            D::Error::custom(
                "expected HS256, HS384, HS512 for a shared secret; or RS256, RS384, RS512, PS256, PS384, PS512, ES256, \
                 ES384, EdDSA for public keys; several of one kind separated by commas, each once",
            )
        };
        let words: Vec<String> = match AlgorithmsText::deserialize(deserializer).map_err(|_| expected())? {
            AlgorithmsText::Text(text) if text.is_empty() => vec![],
            AlgorithmsText::Text(text) => text.split(',').map(|word| word.trim().to_owned()).collect(),
            AlgorithmsText::List(list) => list,
        };
        let algorithms: Result<Vec<Algorithm>, _> = words.iter().map(|word| word.parse()).collect();
        algorithms.ok().and_then(Self::new).ok_or_else(expected)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn algorithms_of_one_kind_form_a_list_or_a_text() {
        let read = |json| serde_json::from_value::<Algorithms>(json).ok();
        let shown = |json| read(json).map(|algorithms| algorithms.to_string());
        assert_eq!(shown(json!("")), Some(String::new()));
        assert_eq!(shown(json!("HS256")), Some("HS256".to_owned()));
        assert_eq!(shown(json!("RS256, ES256,EdDSA")), Some("RS256, ES256, EdDSA".to_owned()));
        assert_eq!(shown(json!(["HS384", "HS512"])), Some("HS384, HS512".to_owned()));
        for wrong in [
            json!("none"),
            json!("hs256"),
            json!("HS256,"),
            json!("HS256,RS256"),
            json!("RS256,RS256"),
            json!(["EdDSA", "HS512"]),
            json!(256),
        ] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn secret_is_as_long_as_the_longest_hash() {
        let bytes =
            |text: &str| serde_json::from_value::<Algorithms>(text.into()).unwrap().secret_bytes_min();
        assert_eq!((bytes("HS256"), bytes("HS384"), bytes("HS256,HS512")), (32, 48, 64));
    }
}
