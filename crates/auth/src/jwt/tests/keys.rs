//! Configured keys, and errors about them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::support::{Pair, SECRET, claims, config, refused, signed, verifier, with_secret};
use crate::DenialReason;
use crate::JwtConfig;
use crate::jwt::verifier::VerifierKeys;
use crate::jwt::{JwtSetupError, KeyError, Verifier};
use tidings_metrics::Metrics;
use tidings_settings::SecretText;

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
async fn secret_file_may_end_with_a_line_break() {
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
fn error_names_the_defect_of_a_key() {
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

#[test]
fn verifier_checks_a_configuration_that_was_not_validated() {
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
        tidings_settings::Texts::new(["https://a/", "https://b/", "https://c/"].map(str::to_owned).to_vec());
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

/// A public key whose private key does not exist.
const OTHER_P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEW9CMMDpUZqXAynvnnoE8LNkABBai
LgZ8ZVSw0mKbO+5l+Mxi2Qj+E2B9872b6gEvdZ8hZvuh3PjSKx9GRSdrJg==
-----END PUBLIC KEY-----
";

const OTHER: &str = "another secret of sixty-four bytes, enough for every hash there is";

fn by(secret: &str) -> String {
    signed(Algorithm::HS256, &EncodingKey::from_secret(secret.as_bytes()), None, &claims(&json!({})))
}

fn by_pair(algorithm: Algorithm, pair: Pair) -> String {
    signed(algorithm, &pair.signing(), None, &claims(&json!({})))
}

async fn accepts(verifier: &Verifier, token: &str) -> bool {
    match verifier.verify(token).await {
        Ok(_) => true,
        Err(denial) => {
            assert!(refused(DenialReason::Signature, &denial), "{denial}");
            false
        }
    }
}

#[tokio::test]
async fn two_secrets_are_accepted_at_once() {
    let written = verifier(&[("algorithm", "HS256"), ("secret", OTHER), ("secret_previous", SECRET)]);
    let directory = tempfile::tempdir().unwrap();
    let files = ["new", "old", "retired"].map(|name| directory.path().join(name).display().to_string());
    for (file, text) in files.iter().zip([OTHER, SECRET, "\n"]) {
        std::fs::write(file, text).unwrap();
    }
    let filed = verifier(&[("algorithm", "HS256"), ("secret_file", &files.join(","))]);
    for verifier in [written, filed] {
        assert!(accepts(&verifier, &by(OTHER)).await && accepts(&verifier, &by(SECRET)).await);
        assert!(!accepts(&verifier, &by("none of the two, but long enough for a hash of this size")).await);
    }
}

#[tokio::test]
async fn several_public_keys_are_accepted_at_once() {
    let pems = format!("a comment\n{}\n{}", Pair::Rsa.public(), Pair::P256.public());
    let written = verifier(&[("algorithm", "RS256,ES256"), ("public_key", &pems)]);
    let directory = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|name| directory.path().join(name).display().to_string());
    std::fs::write(&files[0], Pair::Rsa.public()).unwrap();
    std::fs::write(&files[1], Pair::P256.public()).unwrap();
    let filed = verifier(&[("algorithm", "RS256,ES256"), ("public_key_file", &files.join(","))]);
    for verifier in [written, filed] {
        assert!(accepts(&verifier, &by_pair(Algorithm::RS256, Pair::Rsa)).await);
        assert!(accepts(&verifier, &by_pair(Algorithm::ES256, Pair::P256)).await);
    }
    let many = Pair::Rsa.public().repeat(9);
    assert_eq!(key_error(&config(&[("algorithm", "RS256"), ("public_key", &many)])), KeyError::TooMany);
    let half = format!("{}\n{}", Pair::Rsa.public(), Pair::Rsa.private());
    assert_eq!(key_error(&config(&[("algorithm", "RS256"), ("public_key", &half)])), KeyError::Private);
}

#[test]
fn mask_of_a_secret_is_not_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, "***\n").unwrap();
    let path = path.to_str().unwrap();
    for (algorithm, key) in [("HS256", "secret_file"), ("RS256", "public_key_file")] {
        assert_eq!(key_error(&config(&[("algorithm", algorithm), (key, path)])), KeyError::Mask, "{key}");
    }
}

/// Replaces a file in one step, as writers should.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

async fn eventually(description: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !condition().await {
        assert!(Instant::now() < deadline, "{description}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn key_files_are_read_again_when_they_change() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    let file = path.to_str().unwrap();
    let settings = [("algorithm", "HS256"), ("secret_file", file), ("key_reload_seconds", "0.02")];
    let verifier = Arc::new(verifier(&settings));
    // Changed before the watch begins.
    replace(&path, OTHER);
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&verifier).run(stop.clone()));
    eventually("the other secret counts", async || accepts(&verifier, &by(OTHER)).await).await;
    assert!(!accepts(&verifier, &by(SECRET)).await, "the replaced secret counts no more");

    // Invalid contents leave the previous secret in use; valid ones are read all the same.
    for bad in ["short", "***", Pair::Rsa.public()] {
        replace(&path, bad);
        let VerifierKeys::Configured(keys) = &verifier.keys else { panic!("{:?}", verifier.keys) };
        assert!(!keys.read_again().await, "{bad}");
        assert!(accepts(&verifier, &by(OTHER)).await, "{bad}");
    }
    replace(&path, SECRET);
    eventually("the first secret counts again", async || accepts(&verifier, &by(SECRET)).await).await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn key_files_are_read_again_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.pem");
    std::fs::write(&path, Pair::P256.public()).unwrap();
    let file = path.to_str().unwrap();
    let settings = [("algorithm", "ES256"), ("public_key_file", file), ("key_reload_seconds", "86400")];
    let verifier = Arc::new(verifier(&settings));
    assert!(accepts(&verifier, &by_pair(Algorithm::ES256, Pair::P256)).await);
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&verifier).run(stop.clone()));
    replace(&path, OTHER_P256);
    verifier.reload();
    eventually("the first key counts no more", async || {
        !accepts(&verifier, &by_pair(Algorithm::ES256, Pair::P256)).await
    })
    .await;
    stop.cancel();
    running.await.unwrap();
}
