//! Keys that are configured, and what is wrong with them.

use serde_json::json;

use super::support::{Pair, SECRET, claims, config, with_secret};
use crate::auth::jwt::{JwtSetupError, KeyError, Verifier};
use crate::config::{JwtConfig, SecretText};
use crate::metrics::Metrics;

fn error(config: &JwtConfig) -> JwtSetupError {
    Verifier::new(config, &Metrics::new()).unwrap_err()
}

fn key_error(config: &JwtConfig) -> KeyError {
    match error(config) {
        JwtSetupError::Key { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_secret_stands_in_a_file_with_or_without_a_line_break() {
    let directory = tempfile::tempdir().unwrap();
    for text in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}\r\n")] {
        let path = directory.path().join("secret");
        std::fs::write(&path, &text).unwrap();
        let config = config(&[("algorithm", "HS256"), ("secret_file", path.to_str().unwrap())]);
        let verifier = Verifier::new(&config, &Metrics::new()).unwrap();
        assert!(verifier.verify(&with_secret(&claims(&json!({})))).await.is_ok(), "{text:?}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let path = directory.path().join("key");
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let secret = |text: &str| key_error(&config(&[("algorithm", "HS384"), ("secret_file", &file(text))]));
    assert_eq!(secret("\n"), KeyError::ShortSecret { found: 0, least: 48 });
    assert_eq!(secret(Pair::Rsa.public()), KeyError::PemForSecret);

    let public = |algorithm: &str, text: &str| {
        key_error(&config(&[("algorithm", algorithm), ("public_key_file", &file(text))]))
    };
    assert_eq!(public("RS256", Pair::Rsa.private()), KeyError::Private);
    assert_eq!(public("RS256", "nothing"), KeyError::NotPem);
    assert_eq!(public("RS256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"), KeyError::Kind);
    assert_eq!(public("ES256", Pair::Rsa.public()), KeyError::Algorithm);
    assert_eq!(public("ES384", Pair::P256.public()), KeyError::Algorithm);
    assert_eq!(public("RS256,ES256", Pair::Rsa.public()), KeyError::Algorithm);

    let missing = config(&[("algorithm", "RS256"), ("public_key_file", "/nowhere/key.pem")]);
    let error = error(&missing).to_string();
    assert!(error.starts_with("auth.jwt.public_key_file: cannot read /nowhere/key.pem"), "{error}");
}

/// A configuration that was not loaded, and so not checked, is refused all the same.
#[test]
fn the_verifier_does_not_count_on_the_rules_of_the_configuration() {
    let nothing = config(&[]);
    assert!(matches!(error(&nothing), JwtSetupError::NoAlgorithm));
    let mut several = config(&[("algorithm", "HS256"), ("secret", SECRET)]);
    several.public_key = SecretText::new(Pair::Rsa.public());
    assert!(matches!(error(&several), JwtSetupError::Sources));
    let mut mixed = config(&[("algorithm", "RS256")]);
    mixed.secret = SecretText::new(SECRET);
    assert_eq!(key_error(&mixed), KeyError::Algorithm);
    let mut unbound = config(&[("algorithm", "RS256"), ("jwks_url", "https://a/"), ("issuer", "a,b")]);
    assert!(Verifier::new(&unbound, &Metrics::new()).is_ok());
    unbound.jwks_url =
        crate::config::Texts::new(["https://a/", "https://b/", "https://c/"].map(str::to_owned).to_vec());
    assert!(matches!(error(&unbound), JwtSetupError::Issuers));
}

#[test]
fn debug_shows_no_key() {
    let config = config(&[("algorithm", "HS256"), ("secret", SECRET)]);
    let verifier = Verifier::new(&config, &Metrics::new()).unwrap();
    for text in [format!("{config:?}"), format!("{verifier:?}")] {
        assert!(!text.contains("sixty-four") && text.contains("HS256"), "{text}");
    }
}
