//! Makes tokens for development.

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

/// What a new token is to say.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The workspaces that may be read: ids or patterns.
    pub workspaces: Vec<String>,
    /// The workspaces that may be written to.
    pub publish: Vec<String>,
    /// Whose it is.
    pub user: Option<UserId>,
    /// What it is called.
    pub id: Option<TokenId>,
    /// How long it is good.
    pub ttl: Duration,
    /// The name of the key (`kid`), where there are several.
    pub key_id: Option<String>,
}

/// A token cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The configuration or the key is not right.
    #[error(transparent)]
    Setup(#[from] JwtSetupError),
    /// The broker has public keys, and with these nobody can sign.
    #[error("the configured key only checks signatures: name the private one with --key")]
    PublicKey,
    /// The key does not sign.
    #[error("cannot sign: {0}")]
    Sign(String),
    /// It would be refused.
    #[error("{0}")]
    Refused(Denial),
}

/// Makes a token as the configuration wants it: signed with the configured secret or with the private key (PKCS#8 in PEM)
/// in a file, by the first configured algorithm that suits, from the first issuer, for the first audience. Reads files and
/// thus blocks.
///
/// # Errors
///
/// [`MintError`] says what is missing.
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
        // The same rules as for checking: what is signed with another key would be refused.
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
    // The two curves are told apart by trying.
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
