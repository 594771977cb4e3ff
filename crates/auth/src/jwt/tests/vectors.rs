//! Tokens that other programs signed, and tokens that must be rejected.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use serde_json::json;

use super::super::key::VerificationKey;
use super::support::{Pair, SECRET, claims, refused, signed, verifier, with_secret};
use crate::Algorithms;
use crate::{Action, DenialReason};
use tidings_event::workspace::WorkspaceId;

const TOKENS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/keys/tokens.txt"));

/// Each algorithm with the key that signed its token.
fn vectors() -> impl Iterator<Item = (&'static str, &'static str, [(&'static str, &'static str); 2])> {
    TOKENS.lines().map(|line| {
        let (algorithm, token) = line.split_once(' ').unwrap();
        let key = match &algorithm[..2] {
            "HS" => ("secret", SECRET),
            "RS" | "PS" => ("public_key", Pair::Rsa.public()),
            _ if algorithm == "ES256" => ("public_key", Pair::P256.public()),
            _ if algorithm == "ES384" => ("public_key", Pair::P384.public()),
            _ => ("public_key", Pair::Ed25519.public()),
        };
        (algorithm, token, [("algorithm", algorithm), key])
    })
}

/// The same token with another character at one place.
fn changed(token: &str, at: usize) -> String {
    let mut bytes = token.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn tokens_of_every_algorithm_are_accepted_and_changed_ones_rejected() {
    let mut algorithms = Vec::new();
    for (algorithm, token, settings) in vectors() {
        let verifier = verifier(&settings);
        let verified = verifier.verify(token).await.unwrap_or_else(|denial| panic!("{algorithm}: {denial}"));
        assert_eq!(verified.identity.user.unwrap().as_str(), "u1");
        assert_eq!(verified.identity.token.unwrap().as_str(), "t1");
        let team = WorkspaceId::parse("team-a").unwrap();
        assert!(verified.scope.permits(Action::Subscribe, &team));
        assert!(!verified.scope.permits(Action::Publish, &team));
        assert!(verified.scope.permits(Action::Publish, &WorkspaceId::parse("acme").unwrap()));
        algorithms.push(algorithm);

        // In the middle of the claims, which remain JSON or not, and in the signature.
        let last = token.rfind('.').unwrap();
        for at in [last - 40, last - 20, last + 1, last + 10] {
            let denial = verifier.verify(&changed(token, at)).await.unwrap_err();
            assert!(
                [DenialReason::Form, DenialReason::Signature].contains(&denial.reason),
                "{algorithm} {at}: {denial:?}"
            );
        }
        assert!(refused(DenialReason::Signature, &verifier.verify(&token[..=last]).await.unwrap_err()));
    }
    assert_eq!(algorithms.len(), 12);
}

/// A token is verified with a configured algorithm alone.
#[tokio::test]
async fn algorithm_is_that_of_the_configuration() {
    for (algorithm, _, settings) in vectors() {
        let verifier = verifier(&settings);
        for (other, token, _) in vectors().filter(|(other, ..)| *other != algorithm) {
            let denial = verifier.verify(token).await.unwrap_err();
            assert!(refused(DenialReason::Algorithm, &denial), "{other} for {algorithm}: {denial:?}");
        }
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg }).to_string());
            let claims = URL_SAFE_NO_PAD.encode(claims(&json!({})).to_string());
            for signature in ["", "AAAA"] {
                let denial = verifier.verify(&format!("{header}.{claims}.{signature}")).await.unwrap_err();
                assert!(refused(DenialReason::Algorithm, &denial), "{denial:?}");
            }
        }
    }
}

/// A public key never serves as a secret of a symmetric algorithm.
#[tokio::test]
async fn public_key_is_not_a_secret() {
    for pair in [Pair::Rsa, Pair::P256, Pair::Ed25519] {
        let algorithm = match pair {
            Pair::Rsa => "RS256",
            Pair::P256 => "ES256",
            Pair::P384 | Pair::Ed25519 => "EdDSA",
        };
        let verifier = verifier(&[("algorithm", algorithm), ("public_key", pair.public())]);
        for secret in [pair.public(), pair.public().trim()] {
            let forged = signed(
                Algorithm::HS256,
                &EncodingKey::from_secret(secret.as_bytes()),
                None,
                &claims(&json!({})),
            );
            assert!(refused(DenialReason::Algorithm, &verifier.verify(&forged).await.unwrap_err()));
        }
    }
}

#[tokio::test]
async fn another_key_of_the_same_kind_is_rejected() {
    let verifier = verifier(&[("algorithm", "HS256"), ("secret", &SECRET.to_uppercase())]);
    let denial = verifier.verify(&with_secret(&claims(&json!({})))).await.unwrap_err();
    assert!(refused(DenialReason::Signature, &denial), "{denial:?}");
}

/// The examples of RFC 7515 appendix A.1 and A.3 and of RFC 8037 appendix A.4.
#[test]
fn examples_of_the_standards_are_verified() {
    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let algorithms = |algorithm| Algorithms::new(vec![algorithm]).unwrap();
    let secret =
        VerificationKey::secret(&URL_SAFE_NO_PAD.decode(secret).unwrap(), &algorithms(Algorithm::HS256))
            .unwrap();
    let p256 = json!({ "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
    let p256 = VerificationKey::jwk(&p256, &algorithms(Algorithm::ES256)).unwrap();
    let ed25519 =
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let ed25519 = VerificationKey::jwk(&ed25519, &algorithms(Algorithm::EdDSA)).unwrap();
    for (key, algorithm, signed, signature) in [
        (
            &secret,
            Algorithm::HS256,
            format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}"),
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            &p256,
            Algorithm::ES256,
            format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}"),
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            &ed25519,
            Algorithm::EdDSA,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        assert!(key.verifies(algorithm, &signed, signature), "{algorithm:?}");
        assert!(!key.verifies(algorithm, &signed[1..], signature), "{algorithm:?}");
        assert!(!key.verifies(algorithm, &signed, &changed(signature, 5)), "{algorithm:?}");
        for other in [Algorithm::HS512, Algorithm::ES384, Algorithm::RS256] {
            assert!(!key.verifies(other, &signed, signature), "{algorithm:?} as {other:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_token_is_rejected_without_panic(header in ".*", payload in any::<Vec<u8>>(), tail in ".*") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let verifier = verifier(&[("algorithm", "RS256,PS256"), ("public_key", Pair::Rsa.public())]);
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let header = json!({ "alg": "RS256", "kid": header });
        let signature = encoded(&payload);
        for token in [
            format!("{}.{}.{signature}", encoded(header.to_string().as_bytes()), encoded(b"{}")),
            format!("{}.{signature}.{tail}", encoded(header.to_string().as_bytes())),
            tail,
        ] {
            prop_assert!(runtime.block_on(verifier.verify(&token)).is_err());
        }
    }
}
