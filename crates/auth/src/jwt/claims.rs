//! The claims of a token, and the rules for them (RFC 7519 section 4.1).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::verifier::VerifiedToken;
use crate::JwtConfig;
use crate::{Denial, DenialReason, Pattern, Scope};
use tidings_event::{Identity, TokenId, UserId};

/// Limits the workspaces in one claim.
const PATTERNS_MAX: usize = 256;

/// Limits a pattern, in bytes: twice the longest workspace id.
const PATTERN_BYTES_MAX: usize = 256;

/// The last second of the year 9999. A later time is most likely in milliseconds.
const TIME_MAX: f64 = 253_402_300_799.0;

/// The claims of a token, verified or not.
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

/// Reports that a claim is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotATime;

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Returns a claim by its name or path; see [`find`]. `null` counts as missing.
    fn get(&self, path: &str) -> Option<&Value> {
        find(&self.0, path).filter(|value| !value.is_null())
    }

    /// Returns a claim that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// Returns a claim that is a time: seconds since 1970, fractions allowed (`NumericDate` of RFC
    /// 7519 section 2).
    pub(super) fn time(&self, name: &str) -> Result<Option<SystemTime>, NotATime> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..=TIME_MAX).contains(seconds)).ok_or(NotATime)?;
        Ok(Some(UNIX_EPOCH + Duration::from_secs_f64(seconds)))
    }

    /// Formats a claim for a terminal: as JSON, with every control character escaped.
    pub(super) fn shown(&self, name: &str) -> String {
        let Some(value) = self.get(name) else { return format!("no {name}") };
        let json = value.to_string();
        let escaped =
            json.chars().map(|c| if c.is_control() { c.escape_unicode().to_string() } else { c.into() });
        format!("{name} {}", escaped.collect::<String>())
    }

    /// Returns a claim that is a text or a list of texts.
    fn texts(&self, name: &str) -> Option<Vec<&str>> {
        match self.get(name)? {
            Value::String(text) => Some(vec![text]),
            Value::Array(list) => list.iter().map(Value::as_str).collect(),
            _ => None,
        }
    }

    /// Returns the patterns of workspaces: a list, or a text with spaces between them. A missing
    /// claim has none.
    fn patterns(&self, name: &str) -> Result<Vec<Pattern>, Denial> {
        let denied = |error: &str| {
            Denial::unauthenticated(DenialReason::Claims, format!("the claim `{name}` {error}"))
        };
        let words: Vec<&str> = match self.get(name) {
            None => vec![],
            Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
            Some(_) => self.texts(name).ok_or_else(|| denied("is neither a text nor a list of texts"))?,
        };
        if words.len() > PATTERNS_MAX {
            return Err(denied(&format!(
                "names more than {PATTERNS_MAX} workspaces: use patterns such as `team-*`"
            )));
        }
        if words.iter().any(|word| word.len() > PATTERN_BYTES_MAX) {
            return Err(denied(&format!("has a workspace longer than {PATTERN_BYTES_MAX} bytes")));
        }
        Ok(words.into_iter().map(Pattern::new).collect())
    }
}

/// Returns a value by its path: names with dots between them. A name may contain dots itself, as
/// URLs do, so the longest existing name counts first.
fn find<'json>(object: &'json Map<String, Value>, path: &str) -> Option<&'json Value> {
    object.get(path).or_else(|| {
        path.rmatch_indices('.').find_map(|(dot, _)| {
            object
                .get(&path[..dot])
                .and_then(Value::as_object)
                .and_then(|inner| find(inner, &path[dot + 1..]))
        })
    })
}

/// The configured rules for claims.
#[derive(Debug)]
pub(super) struct Rules {
    issuers: Vec<String>,
    audience: Vec<String>,
    leeway: Duration,
    claim_workspaces: String,
    claim_publish: String,
    claim_user: String,
}

impl Rules {
    pub(super) fn new(config: &JwtConfig) -> Self {
        Self {
            issuers: config.issuer.to_vec(),
            audience: config.audience.to_vec(),
            leeway: config.leeway_seconds.duration(),
            claim_workspaces: config.claim_workspaces.clone(),
            claim_publish: config.claim_publish.clone(),
            claim_user: config.claim_user.clone(),
        }
    }

    /// Returns the names of the claims for the user, the token and the workspaces.
    pub(super) fn names(&self) -> [&str; 4] {
        [&self.claim_user, "jti", &self.claim_workspaces, &self.claim_publish]
    }

    /// Checks every rule for the time and the purpose of a token; returns each outcome.
    pub(super) fn check(&self, claims: &Claims, now: SystemTime) -> [(DenialReason, Result<(), Denial>); 4] {
        [
            (DenialReason::Expiry, self.expiry(claims, now)),
            (DenialReason::NotBefore, self.not_before(claims, now)),
            (DenialReason::Issuer, self.issuer(claims)),
            (DenialReason::Audience, self.audience(claims)),
        ]
    }

    /// RFC 7519 section 4.1.4: on or after `exp` a token is not accepted. A token without `exp` is
    /// never accepted, because it could not be revoked.
    fn expiry(&self, claims: &Claims, now: SystemTime) -> Result<(), Denial> {
        let denied = |detail: String| Err(Denial::unauthenticated(DenialReason::Expiry, detail));
        match claims.time("exp") {
            Ok(Some(end)) if now < end + self.leeway => Ok(()),
            Ok(Some(end)) => {
                let seconds = now.duration_since(end).unwrap_or_default().as_secs();
                denied(format!("the token expired {seconds} s ago (`exp`): get a new one"))
            }
            Ok(None) => denied("the token has no expiry: it needs `exp`".to_owned()),
            Err(NotATime) => denied("`exp` is not a time in seconds since 1970".to_owned()),
        }
    }

    /// RFC 7519 section 4.1.5.
    fn not_before(&self, claims: &Claims, now: SystemTime) -> Result<(), Denial> {
        let denied = |detail: String| Err(Denial::unauthenticated(DenialReason::NotBefore, detail));
        match claims.time("nbf") {
            Ok(Some(begin)) if begin > now + self.leeway => {
                let seconds = begin.duration_since(now).unwrap_or_default().as_secs();
                denied(format!("the token is valid only in {seconds} s (`nbf`): check the clocks"))
            }
            Ok(_) => Ok(()),
            Err(NotATime) => denied("`nbf` is not a time in seconds since 1970".to_owned()),
        }
    }

    /// RFC 7519 section 4.1.1.
    fn issuer(&self, claims: &Claims) -> Result<(), Denial> {
        if self.issuers.is_empty() {
            return Ok(());
        }
        match claims.text("iss") {
            Some(issuer) if self.issuers.iter().any(|known| known == issuer) => Ok(()),
            Some(_) => {
                Err(issuer_denied("the token is from an issuer (`iss`) that is not in auth.jwt.issuer"))
            }
            None => Err(issuer_denied("the token has no issuer (`iss`), and auth.jwt.issuer requires one")),
        }
    }

    /// RFC 7519 section 4.1.3: a receiver outside the audience of a token must reject it. A broker
    /// without a configured audience is outside of every audience.
    fn audience(&self, claims: &Claims) -> Result<(), Denial> {
        let denied = |detail: &str| Err(Denial::unauthenticated(DenialReason::Audience, detail));
        if claims.get("aud").is_none() {
            return if self.audience.is_empty() {
                Ok(())
            } else {
                denied("the token has no audience (`aud`), and auth.jwt.audience requires one")
            };
        }
        let audience = claims.texts("aud").unwrap_or_default();
        if self.audience.iter().any(|name| audience.contains(&name.as_str())) {
            return Ok(());
        }
        denied("the token is for an audience (`aud`) that is not in auth.jwt.audience")
    }

    /// Returns the identity and scope of verified claims.
    pub(super) fn read(&self, claims: &Claims) -> Result<VerifiedToken, Denial> {
        let denied = |name: &str| {
            let detail =
                format!("the claim `{name}` is not a text of 1 to 256 bytes without control characters");
            Denial::unauthenticated(DenialReason::Claims, detail)
        };
        let text = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(denied(name)),
        };
        let user =
            text(&self.claim_user)?.map(UserId::parse).transpose().map_err(|_| denied(&self.claim_user))?;
        let token = text("jti")?.map(TokenId::parse).transpose().map_err(|_| denied("jti"))?;
        let expires = claims.time("exp").ok().flatten();
        let scope = Scope {
            subscribe: claims.patterns(&self.claim_workspaces)?,
            publish: claims.patterns(&self.claim_publish)?,
        };
        let accepted_until = expires.unwrap_or(UNIX_EPOCH) + self.leeway;
        Ok(VerifiedToken { identity: Identity { user, token, expires }, scope, accepted_until })
    }
}

/// Returns the denial for another issuer.
pub(super) fn issuer_denied(detail: &str) -> Denial {
    Denial::unauthenticated(DenialReason::Issuer, detail)
}
