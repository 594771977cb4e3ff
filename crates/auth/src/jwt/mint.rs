//! Creation of tokens for development.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header};
use serde_json::{Map, Value};

use super::key::KeyError;
use super::material::{self, JwtSetupError};
use super::token::Token;
use crate::Denial;
use crate::JwtConfig;
use tidings_event::{TokenId, UserId};

/// The contents of a new token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The workspaces that may be read: ids or patterns.
    pub workspaces: Vec<String>,
    /// The workspaces to which the client may publish.
    pub publish: Vec<String>,
    /// The user.
    pub user: Option<UserId>,
    /// The id of the token.
    pub id: Option<TokenId>,
    /// The lifetime.
    pub ttl: Duration,
    /// The id of the key (`kid`), if there are several.
    pub key_id: Option<String>,
}

/// The reason for which a token cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The configuration or the key is invalid.
    #[error(transparent)]
    Setup(#[from] JwtSetupError),
    /// The broker has public keys, which cannot sign.
    #[error("the configured key only verifies signatures: name the private key with --key")]
    PublicKey,
    /// The key does not sign.
    #[error("cannot sign: {0}")]
    Sign(String),
    /// The verifier would reject the token.
    #[error("{0}")]
    Refused(Denial),
}

/// Creates a token that the configuration accepts.
///
/// The configured secret signs it, or a private key in a file (PKCS#8 in PEM). The algorithm is the
/// first configured one that the key supports. Issuer and audience are the first ones. Reads files,
/// and so blocks.
///
/// # Errors
///
/// Returns a [`MintError`] with the reason.
pub fn mint(
    config: &JwtConfig,
    key: Option<&Path>,
    new: &NewToken,
    now: SystemTime,
) -> Result<Token, MintError> {
    let (algorithm, key) = signing_key(config, key)?;
    let mut header = Header::new(algorithm);
    header.kid.clone_from(&new.key_id);
    let text = jsonwebtoken::encode(&header, &claims(config, new, now), &key)
        .map_err(|error| MintError::Sign(error.to_string()))?;
    Token::parse(&text).map_err(MintError::Refused)
}

fn signing_key(config: &JwtConfig, file: Option<&Path>) -> Result<(Algorithm, EncodingKey), MintError> {
    let algorithms = config.algorithm.as_slice();
    let first = *algorithms.first().ok_or(JwtSetupError::NoAlgorithm)?;
    let Some(path) = file else {
        let source = material::source(config)?;
        // The rules of the verifier apply, because it would reject a token by another key.
        material::keys(source, &config.algorithm)?;
        let secret = material::secrets(source)?.into_iter().next().ok_or(MintError::PublicKey)?;
        return Ok((first, EncodingKey::from_secret(&secret)));
    };
    let pem = material::file("--key", path)?;
    let families = [
        (AlgorithmFamily::Rsa, EncodingKey::from_rsa_pem(&pem)),
        (AlgorithmFamily::Ec, EncodingKey::from_ec_pem(&pem)),
        (AlgorithmFamily::Ed, EncodingKey::from_ed_pem(&pem)),
    ];
    let found = families.into_iter().find_map(|(family, key)| Some((family, key.ok()?)));
    let failed = |source| JwtSetupError::Key { key: "--key", source };
    let (family, key) = found.ok_or_else(|| failed(KeyError::Kind))?;
    // A try distinguishes the two curves.
    let signs = |algorithm: &&Algorithm| {
        algorithm.family() == family && jsonwebtoken::crypto::sign(b"", &key, **algorithm).is_ok()
    };
    let algorithm = algorithms.iter().find(signs).ok_or_else(|| failed(KeyError::Algorithm))?;
    Ok((*algorithm, key))
}

fn claims(config: &JwtConfig, new: &NewToken, now: SystemTime) -> Map<String, Value> {
    let seconds =
        |time: SystemTime| Value::from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    let claims = [
        ("iss", config.issuer.first().map(|issuer| issuer.as_str().into())),
        ("aud", config.audience.first().map(|audience| audience.as_str().into())),
        ("iat", Some(seconds(now))),
        ("exp", Some(seconds(now + new.ttl))),
        ("jti", new.id.as_ref().map(|id| id.as_str().into())),
        (&config.claim_user, new.user.as_ref().map(|user| user.as_str().into())),
        (&config.claim_workspaces, Some(new.workspaces.clone().into())),
        (&config.claim_publish, Some(new.publish.clone().into())),
    ];
    claims.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
