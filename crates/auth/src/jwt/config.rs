//! The section `[auth.jwt]`: tokens and the keys that verify them.

use http::Uri;
use serde::Deserialize;

use super::algorithms::Algorithms;
use tidings_settings::{Seconds, SecretText, Texts};

/// `[auth.jwt]`: tokens and the keys that verify them.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct JwtConfig {
    pub algorithm: Algorithms,
    pub secret: SecretText,
    pub secret_previous: SecretText,
    pub secret_file: Texts,
    /// Not a secret, but an operator may write a private key here by mistake.
    pub public_key: SecretText,
    pub public_key_file: Texts,
    pub key_reload_seconds: Seconds,
    pub jwks_url: Texts,
    pub jwks_over_http: bool,
    pub jwks_refresh_seconds: Seconds,
    pub jwks_timeout_seconds: Seconds,
    pub jwks_min_interval_seconds: Seconds,
    pub issuer: Texts,
    pub audience: Texts,
    pub leeway_seconds: Seconds,
    pub cookie: String,
    pub query: bool,
    pub claim_workspaces: String,
    pub claim_publish: String,
    pub claim_user: String,
}

/// The source of the keys.
#[derive(Debug, Clone, Copy)]
pub enum KeySource<'a> {
    /// A shared secret, and the previous one, which may be empty.
    Secret(&'a SecretText, &'a SecretText),
    /// Files with one shared secret each; never empty.
    SecretFile(&'a [String]),
    /// Public keys in PEM.
    PublicKey(&'a SecretText),
    /// Files with public keys in PEM; never empty.
    PublicKeyFile(&'a [String]),
    /// URLs of key sets (RFC 7517 section 5); never empty.
    Jwks(&'a [String]),
}

impl JwtConfig {
    /// Returns every configured source of keys. A verifier needs exactly one.
    #[must_use]
    pub fn key_sources(&self) -> Vec<KeySource<'_>> {
        [
            (!self.secret.is_empty()).then_some(KeySource::Secret(&self.secret, &self.secret_previous)),
            (!self.secret_file.is_empty()).then_some(KeySource::SecretFile(&self.secret_file)),
            (!self.public_key.is_empty()).then_some(KeySource::PublicKey(&self.public_key)),
            (!self.public_key_file.is_empty()).then_some(KeySource::PublicKeyFile(&self.public_key_file)),
            (!self.jwks_url.is_empty()).then_some(KeySource::Jwks(&self.jwks_url)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Returns whether the configured key can sign tokens, as a shared secret can.
    #[must_use]
    pub fn can_mint(&self) -> bool {
        matches!(self.key_sources()[..], [KeySource::Secret(..) | KeySource::SecretFile(_)])
    }

    /// Returns whether each key set has its own issuer. With several sets, the issuers have the
    /// same order, so that the keys of one issuer never verify tokens of another.
    #[must_use]
    pub fn binds_issuers(&self) -> bool {
        self.jwks_url.len() < 2 || self.jwks_url.len() == self.issuer.len()
    }
}

impl KeySource<'_> {
    /// Returns the key of the configuration.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Secret(..) => "auth.jwt.secret",
            Self::SecretFile(_) => "auth.jwt.secret_file",
            Self::PublicKey(_) => "auth.jwt.public_key",
            Self::PublicKeyFile(_) => "auth.jwt.public_key_file",
            Self::Jwks(_) => "auth.jwt.jwks_url",
        }
    }

    /// Returns whether the source is a secret, which signs and verifies, and not a public key.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Secret(..) | Self::SecretFile(_))
    }
}

/// Returns whether keys may be fetched from a URL: over https, or from this machine, so that no
/// attacker on the network can replace keys.
///
/// With `over_http`, other machines without TLS are allowed too. URLs with a user or password are
/// rejected, because the request would not contain them.
#[must_use]
pub fn is_jwks_url(text: &str, over_http: bool) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else { return false };
    let safe = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => over_http || is_loopback(host),
        _ => false,
    };
    safe && !host.is_empty() && !authority.as_str().contains('@') && !text.contains('#')
}

/// Returns whether a host of a URL is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for url in [
            "https://id.example.com/.well-known/jwks.json",
            "https://id.example.com:8443/keys?app=1",
            "http://127.0.0.1:3000/jwks",
            "http://[::1]/jwks",
            "http://localhost:3000/jwks",
        ] {
            assert!(is_jwks_url(url, false) && is_jwks_url(url, true), "{url}");
        }
        for url in [
            "http://id.example.com/jwks",
            "http://127.0.0.1.example.com/jwks",
            "http://localhost.example.com/jwks",
        ] {
            assert!(!is_jwks_url(url, false) && is_jwks_url(url, true), "{url}");
        }
        for url in [
            "",
            "id.example.com/jwks",
            "/jwks",
            "ftp://127.0.0.1/jwks",
            "https://user:password@id.example.com/jwks",
            "http://127.0.0.1@id.example.com/jwks",
            "https://id.example.com/jwks#a",
            "https://id.example.com/a b",
        ] {
            assert!(!is_jwks_url(url, false) && !is_jwks_url(url, true), "{url}");
        }
    }
}
