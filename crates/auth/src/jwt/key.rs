//! Keys, and the algorithms that each is for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::form::KEY_ID_BYTES_MAX;
use crate::Algorithms;
use tidings_settings::MASK;

/// The most keys that are tried for one token: each costs a signature.
pub(super) const KEYS_MAX: usize = 8;

/// The sizes of an RSA modulus that are taken, in bytes: 2048 bits as RFC 7518 section 3.3 demands, to 4096, beyond which
/// checking a signature takes long enough to be an attack.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// A key that checks signatures.
#[derive(Debug)]
pub(super) struct VerificationKey {
    /// What tokens call it (`kid`), where it has a name.
    pub(super) id: Option<String>,
    /// Those of the configured algorithms that it is for; never empty.
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// Something is no key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too short for the algorithm (RFC 7518 section 3.2): whoever holds a token can try secrets for as long as they like.
    #[error("it has {found} bytes and needs at least {least}: make one with `openssl rand -base64 48`")]
    ShortSecret {
        /// How many bytes it has.
        found: usize,
        /// How many it needs.
        least: usize,
    },
    /// A key in PEM where a secret belongs: if it is public, everybody could sign.
    #[error("it is a key in PEM, and no secret: set auth.jwt.public_key_file and an algorithm such as RS256")]
    PemForSecret,
    /// A private key where a public one belongs.
    #[error(
        "it is a private key: the broker needs the public one (`openssl pkey -in FILE -pubout`) and nothing more"
    )]
    Private,
    /// Not PEM, or PEM of something else.
    #[error("it is no public key in PEM, which begins with -----BEGIN PUBLIC KEY-----")]
    NotPem,
    /// No key of a kind that is known here.
    #[error("it is no RSA, P-256, P-384 or Ed25519 key")]
    Kind,
    /// An RSA key of a size that is not taken.
    #[error("it is an RSA key of {0} bits, and 2048 to 4096 are taken")]
    RsaSize(usize),
    /// A coordinate of the wrong length, or a part that is no base64url.
    #[error("its parts are not those of its kind of key")]
    Parts,
    /// It is for something else than checking signatures.
    #[error("it is not meant for signatures")]
    Use,
    /// It does not suit the configured algorithms.
    #[error("it is for none of the algorithms in auth.jwt.algorithm, or not for each of them")]
    Algorithm,
    /// What stands in the place of a secret where a configuration is shown.
    #[error("it is ***, which `tidings config` shows in the place of a secret: give the secret itself")]
    Mask,
    /// More keys than are tried for one token.
    #[error("there are more than {KEYS_MAX} keys: leave out those that no token is signed with any more")]
    TooMany,
    /// A name longer than tokens may use.
    #[error("its `kid` is too long")]
    Id,
}

/// A key as a set holds it (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2), of what matters here.
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
    /// A shared secret.
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

    /// A public key in PEM.
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
        // The one way to a key leads through its JWK, so that the same rules hold wherever it comes from.
        let jwk = Jwk::from_decoding_key(&decoding, None).map_err(|_| KeyError::Kind)?;
        Self::jwk(&serde_json::to_value(jwk).map_err(|_| KeyError::Kind)?, algorithms)
    }

    /// A public key of a set. A symmetric one (`oct`) is never taken: whoever can read the address could sign.
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
        // RFC 7517 section 4.4: a key that names its algorithm is for no other.
        let named =
            |algorithm: &Algorithm| raw.alg.as_ref().is_none_or(|alg| *alg == format!("{algorithm:?}"));
        let suits = |algorithm: &&Algorithm| kind.suits(**algorithm) && named(algorithm);
        let algorithms: Vec<Algorithm> = algorithms.as_slice().iter().filter(suits).copied().collect();
        if algorithms.is_empty() {
            return Err(KeyError::Algorithm);
        }
        Ok(Self { id: raw.kid, algorithms, decoding })
    }

    /// Whether it may check signatures of an algorithm.
    pub(super) fn suits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether a signature, in base64url, is that of a text by this key. Never so with an algorithm that it does not
    /// suit.
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
    /// Checks the lengths of all parts before the cryptography sees them: some of it counts on them.
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
