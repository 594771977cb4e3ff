//! Keys and their algorithms.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::form::KEY_ID_BYTES_MAX;
use crate::Algorithms;
use tidings_settings::MASK;

/// Limits the keys that are tried for one token, because each try costs a signature check.
pub(super) const KEYS_MAX: usize = 8;

/// The accepted sizes of an RSA modulus, in bytes. RFC 7518 section 3.3 requires 2048 bits. Beyond
/// 4096 bits, a signature check is slow enough for an attack.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// Verifies signatures.
#[derive(Debug)]
pub(super) struct VerificationKey {
    /// The id in tokens (`kid`), if the key has one.
    pub(super) id: Option<String>,
    /// The configured algorithms that the key supports; never empty.
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// The reason for which a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The secret is too short for the algorithm (RFC 7518 section 3.2). An attacker with a token
    /// can try secrets without limit.
    #[error("it has {found} bytes and needs at least {least}: create one with `openssl rand -base64 48`")]
    ShortSecret {
        /// Its bytes.
        found: usize,
        /// The required bytes.
        least: usize,
    },
    /// A PEM key instead of a secret. If it is public, every client could sign.
    #[error("it is a PEM key, and not a secret: set auth.jwt.public_key_file and an algorithm such as RS256")]
    PemForSecret,
    /// A private key instead of a public one.
    #[error("it is a private key: the broker needs only the public one (`openssl pkey -in FILE -pubout`)")]
    Private,
    /// Not PEM, or PEM with other contents.
    #[error("it is not a public key in PEM, which begins with -----BEGIN PUBLIC KEY-----")]
    NotPem,
    /// A key of an unsupported kind.
    #[error("it is not an RSA, P-256, P-384 or Ed25519 key")]
    Kind,
    /// An RSA key of an unsupported size.
    #[error("it is an RSA key of {0} bits: use one of 2048 to 4096 bits")]
    RsaSize(usize),
    /// A coordinate has the wrong length, or a part is not base64url.
    #[error("its parts do not match its kind of key")]
    Parts,
    /// The key is not for verifying signatures.
    #[error("it is not for signatures (`use`, `key_ops`)")]
    Use,
    /// The key does not support the configured algorithms.
    #[error("it supports none of the algorithms in auth.jwt.algorithm, or not each of them")]
    Algorithm,
    /// The mask of a secret in the output of `tidings config`.
    #[error("it is ***, which `tidings config` shows instead of a secret: set the secret itself")]
    Mask,
    /// More keys than are tried for one token.
    #[error("there are more than {KEYS_MAX} keys: remove those that sign no tokens any more")]
    TooMany,
    /// The id is longer than that of a token may be.
    #[error("its `kid` is too long")]
    Id,
}

/// A key in a set, with the members that matter here (RFC 7517 section 4, RFC 7518 section 6, RFC
/// 8037 section 2).
#[derive(Debug, Deserialize)]
struct RawKey {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl VerificationKey {
    /// Creates a key from a shared secret.
    pub(super) fn secret(secret: &[u8], algorithms: &Algorithms) -> Result<Self, KeyError> {
        if algorithms.use_secret() != Some(true) {
            return Err(KeyError::Algorithm);
        }
        if secret == MASK.as_bytes() {
            return Err(KeyError::Mask);
        }
        if secret.windows(PEM.len()).any(|window| window == PEM) {
            return Err(KeyError::PemForSecret);
        }
        if secret.is_empty() {
            return Err(KeyError::ShortSecret { found: 0, least: algorithms.secret_bytes_min() });
        }
        let decoding = DecodingKey::from_secret(secret);
        Ok(Self { id: None, algorithms: algorithms.as_slice().to_vec(), decoding })
    }

    /// Creates a key from a public key in PEM.
    pub(super) fn pem(pem: &str, algorithms: &Algorithms) -> Result<Self, KeyError> {
        if pem.trim() == MASK {
            return Err(KeyError::Mask);
        }
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        if !["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"]
            .iter()
            .any(|begin| pem.contains(begin))
        {
            return Err(KeyError::NotPem);
        }
        let pem = pem.trim().as_bytes();
        let decoding = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .map_err(|_| KeyError::Kind)?;
        // Every key is created from its JWK, so that the same rules apply to each source.
        let jwk = Jwk::from_decoding_key(&decoding, None).map_err(|_| KeyError::Kind)?;
        Self::jwk(&serde_json::to_value(jwk).map_err(|_| KeyError::Kind)?, algorithms)
    }

    /// Creates a key from a public key of a set. A symmetric key (`oct`) is rejected, because every
    /// program that can read the URL could sign.
    pub(super) fn jwk(jwk: &Value, algorithms: &Algorithms) -> Result<Self, KeyError> {
        let raw = RawKey::deserialize(jwk).map_err(|_| KeyError::Parts)?;
        // RFC 7517 sections 4.2 and 4.3.
        let verifies = |operations: &Vec<String>| operations.iter().any(|operation| operation == "verify");
        if raw.usage.as_ref().is_some_and(|usage| usage != "sig")
            || !raw.key_ops.as_ref().is_none_or(verifies)
        {
            return Err(KeyError::Use);
        }
        if raw.kid.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
            return Err(KeyError::Id);
        }
        let (kind, decoding) = raw.decode()?;
        // RFC 7517 section 4.4: a key with an algorithm supports no other one.
        let named =
            |algorithm: &Algorithm| raw.alg.as_ref().is_none_or(|alg| *alg == format!("{algorithm:?}"));
        let suits = |algorithm: &&Algorithm| kind.suits(**algorithm) && named(algorithm);
        let algorithms: Vec<Algorithm> = algorithms.as_slice().iter().filter(suits).copied().collect();
        if algorithms.is_empty() {
            return Err(KeyError::Algorithm);
        }
        Ok(Self { id: raw.kid, algorithms, decoding })
    }

    /// Returns whether the key can verify signatures of an algorithm.
    pub(super) fn suits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Returns whether a signature in base64url is that of a text by this key. Returns false for an
    /// algorithm that the key does not support.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        self.suits(algorithm)
            && jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.decoding, algorithm)
                .unwrap_or(false)
    }
}

const PEM: &[u8] = b"-----BEGIN ";

/// The kinds of public keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeyKind {
    fn suits(self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa => algorithm.family() == AlgorithmFamily::Rsa,
            Self::P256 => algorithm == Algorithm::ES256,
            Self::P384 => algorithm == Algorithm::ES384,
            Self::Ed25519 => algorithm == Algorithm::EdDSA,
        }
    }
}

impl RawKey {
    /// Checks the lengths of all parts, because parts of the cryptography rely on them.
    fn decode(&self) -> Result<(KeyKind, DecodingKey), KeyError> {
        let crv = self.crv.as_deref();
        let (kind, key) = match (self.kty.as_str(), crv) {
            ("RSA", _) => {
                let (n, e) = (bytes(self.n.as_ref())?, bytes(self.e.as_ref())?);
                let n = &n[n.iter().take_while(|b| **b == 0).count()..];
                if !RSA_MODULUS_BYTES.contains(&n.len()) {
                    return Err(KeyError::RsaSize(n.len() * 8));
                }
                if e.len() > 8 {
                    return Err(KeyError::Parts);
                }
                (KeyKind::Rsa, DecodingKey::from_rsa_raw_components(n, &e))
            }
            ("EC", Some("P-256")) => (KeyKind::P256, self.point(32)?),
            ("EC", Some("P-384")) => (KeyKind::P384, self.point(48)?),
            ("OKP", Some("Ed25519")) => {
                (KeyKind::Ed25519, DecodingKey::from_ed_der(&sized(self.x.as_ref(), 32)?))
            }
            _ => return Err(KeyError::Kind),
        };
        Ok((kind, key))
    }

    fn point(&self, length: usize) -> Result<DecodingKey, KeyError> {
        let (x, y) = (sized(self.x.as_ref(), length)?, sized(self.y.as_ref(), length)?);
        // An uncompressed point (SEC 1 section 2.3.3).
        Ok(DecodingKey::from_ec_der(&[&[4], &*x, &*y].concat()))
    }
}

fn sized(part: Option<&String>, length: usize) -> Result<Vec<u8>, KeyError> {
    bytes(part).and_then(|bytes| if bytes.len() == length { Ok(bytes) } else { Err(KeyError::Parts) })
}

fn bytes(part: Option<&String>) -> Result<Vec<u8>, KeyError> {
    part.and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).ok_or(KeyError::Parts)
}
