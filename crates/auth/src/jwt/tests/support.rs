//! Keys, configurations and tokens for these tests.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};

use crate::JwtConfig;
use crate::defaults::section;
use crate::jwt::Verifier;
use crate::{Denial, DenialKind, DenialReason};
use tidings_metrics::Metrics;

/// Long enough for HS512.
pub(crate) const SECRET: &str = "a secret of sixty-four bytes, which is enough for every HS hash.";

/// A key pair.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pair {
    Rsa,
    P256,
    P384,
    Ed25519,
}

macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/keys/", $name, ".pem"))
    };
}

impl Pair {
    pub(crate) fn private(self) -> &'static str {
        match self {
            Self::Rsa => pem!("rsa"),
            Self::P256 => pem!("p256"),
            Self::P384 => pem!("p384"),
            Self::Ed25519 => pem!("ed25519"),
        }
    }

    pub(crate) fn public(self) -> &'static str {
        match self {
            Self::Rsa => pem!("rsa.public"),
            Self::P256 => pem!("p256.public"),
            Self::P384 => pem!("p384.public"),
            Self::Ed25519 => pem!("ed25519.public"),
        }
    }

    pub(crate) fn signing(self) -> EncodingKey {
        let pem = self.private().as_bytes();
        match self {
            Self::Rsa => EncodingKey::from_rsa_pem(pem),
            Self::P256 | Self::P384 => EncodingKey::from_ec_pem(pem),
            Self::Ed25519 => EncodingKey::from_ed_pem(pem),
        }
        .unwrap()
    }

    /// The public key as a member of a set.
    pub(crate) fn jwk(self, id: &str) -> Value {
        let pem = self.public().as_bytes();
        let key = match self {
            Self::Rsa => DecodingKey::from_rsa_pem(pem),
            Self::P256 | Self::P384 => DecodingKey::from_ec_pem(pem),
            Self::Ed25519 => DecodingKey::from_ed_pem(pem),
        };
        let mut jwk = serde_json::to_value(Jwk::from_decoding_key(&key.unwrap(), None).unwrap()).unwrap();
        jwk["kid"] = id.into();
        jwk
    }
}

/// `[auth.jwt]` with these settings.
pub(crate) fn config(settings: &[(&str, &str)]) -> JwtConfig {
    section("auth.jwt", settings)
}

pub(crate) fn verifier(settings: &[(&str, &str)]) -> Verifier {
    Verifier::new(&config(settings), &Metrics::new()).unwrap()
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The claims of a token that is valid for an hour, with others over them. `null` removes a claim.
pub(crate) fn claims(others: &Value) -> Value {
    let mut claims = json!({ "sub": "u1", "workspaces": ["acme"], "exp": now() + 3600 });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

pub(crate) fn signed(algorithm: Algorithm, key: &EncodingKey, id: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = id.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

/// A token that [`SECRET`] signed.
pub(crate) fn with_secret(claims: &Value) -> String {
    signed(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), None, claims)
}

pub(crate) fn refused(reason: DenialReason, denial: &Denial) -> bool {
    denial.reason == reason && denial.kind == DenialKind::Unauthenticated
}
