//! Tokens, as a backend makes them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// The secret that broker and backend share.
pub const SECRET: &str = "a secret of thirty-two bytes, at least that long";

/// What makes a broker take such tokens.
pub const JWT: [(&str, &str); 3] =
    [("auth.mode", "jwt"), ("auth.jwt.algorithm", "HS256"), ("auth.jwt.secret", SECRET)];

/// A token for a user that is good for some seconds, less than none included, with further claims.
pub fn token(user: &str, workspaces: &[&str], seconds: i64, more: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
    let mut claims = json!({
        "sub": user,
        "workspaces": workspaces,
        "publish": workspaces,
        "exp": now.saturating_add_signed(seconds),
    });
    if let (Some(claims), Some(more)) = (claims.as_object_mut(), more.as_object()) {
        claims.extend(more.clone());
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token")
}

/// The header that carries a token.
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
