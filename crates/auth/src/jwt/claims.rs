//! What a token says, and the rules for it (RFC 7519 section 4.1).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::verifier::VerifiedToken;
use crate::JwtConfig;
use crate::{Denial, DenialReason, Pattern, Scope};
use tidings_event::{Identity, TokenId, UserId};

/// The most workspaces that a claim may name.
const PATTERNS_MAX: usize = 256;

/// The longest pattern, in bytes: twice the longest id of a workspace.
const PATTERN_BYTES_MAX: usize = 256;

/// The last second of the year 9999. A later time is most often one in milliseconds.
const TIME_MAX: f64 = 253_402_300_799.0;

/// The claims of a token, proven or not.
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

/// A claim that should be a time is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotATime;

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// A claim by its name or path, as [`find`] takes it. `null` is no claim.
    fn get(&self, path: &str) -> Option<&Value> {
        find(&self.0, path).filter(|value| !value.is_null())
    }

    /// A claim that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// A claim that is a time: seconds since 1970, fractions allowed (`NumericDate` of RFC 7519 section 2).
    pub(super) fn time(&self, name: &str) -> Result<Option<SystemTime>, NotATime> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..=TIME_MAX).contains(seconds)).ok_or(NotATime)?;
        Ok(Some(UNIX_EPOCH + Duration::from_secs_f64(seconds)))
    }

    /// A claim as it may be shown on a terminal: as JSON, with every control character escaped.
    pub(super) fn shown(&self, name: &str) -> String {
        let Some(value) = self.get(name) else { return format!("no {name}") };
        let json = value.to_string();
        let escaped =
            json.chars().map(|c| if c.is_control() { c.escape_unicode().to_string() } else { c.into() });
        format!("{name} {}", escaped.collect::<String>())
    }

    /// A claim that is a text, or a list of texts.
    fn texts(&self, name: &str) -> Option<Vec<&str>> {
        match self.get(name)? {
            Value::String(text) => Some(vec![text]),
            Value::Array(list) => list.iter().map(Value::as_str).collect(),
            _ => None,
        }
    }

    /// Workspaces: a list of patterns, or a text in which spaces separate them. None where the claim is missing.
    fn patterns(&self, name: &str) -> Result<Vec<Pattern>, Denial> {
        let denied =
            |why: &str| Denial::unauthenticated(DenialReason::Claims, format!("the claim `{name}` {why}"));
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

/// A value by its path: names with dots between them. A name may have dots of its own, as those that are addresses do, so
/// the longest name that is there counts first.
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

/// The rules that claims must meet.
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

    /// The names of the claims that say who somebody is and what they may do.
    pub(super) fn names(&self) -> [&str; 4] {
        [&self.claim_user, "jti", &self.claim_workspaces, &self.claim_publish]
    }

    /// Every rule for the time and the purpose of a token, with what came of it.
    pub(super) fn check(&self, claims: &Claims, now: SystemTime) -> [(DenialReason, Result<(), Denial>); 4] {
        [
            (DenialReason::Expiry, self.expiry(claims, now)),
            (DenialReason::NotBefore, self.not_before(claims, now)),
            (DenialReason::Issuer, self.issuer(claims)),
            (DenialReason::Audience, self.audience(claims)),
        ]
    }

    /// RFC 7519 section 4.1.4: on or after `exp` a token is not accepted. One without is not accepted at all, because it
    /// could never be got rid of.
    fn expiry(&self, claims: &Claims, now: SystemTime) -> Result<(), Denial> {
        let denied = |detail: String| Err(Denial::unauthenticated(DenialReason::Expiry, detail));
        match claims.time("exp") {
            Ok(Some(end)) if now < end + self.leeway => Ok(()),
            Ok(Some(end)) => {
                let seconds = now.duration_since(end).unwrap_or_default().as_secs();
                denied(format!("the token ended {seconds} s ago (`exp`): get a new one"))
            }
            Ok(None) => denied("the token does not say when it ends: it needs `exp`".to_owned()),
            Err(NotATime) => denied("`exp` is no time in seconds since 1970".to_owned()),
        }
    }

    /// RFC 7519 section 4.1.5.
    fn not_before(&self, claims: &Claims, now: SystemTime) -> Result<(), Denial> {
        let denied = |detail: String| Err(Denial::unauthenticated(DenialReason::NotBefore, detail));
        match claims.time("nbf") {
            Ok(Some(begin)) if begin > now + self.leeway => {
                let seconds = begin.duration_since(now).unwrap_or_default().as_secs();
                denied(format!("the token is good only in {seconds} s (`nbf`): check the clocks"))
            }
            Ok(_) => Ok(()),
            Err(NotATime) => denied("`nbf` is no time in seconds since 1970".to_owned()),
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
            None => Err(issuer_denied("the token does not say who issued it (`iss`)")),
        }
    }

    /// RFC 7519 section 4.1.3: who is not among those that a token is meant for must refuse it, and a broker without a
    /// name of its own is never among them.
    fn audience(&self, claims: &Claims) -> Result<(), Denial> {
        let denied = |detail: &str| Err(Denial::unauthenticated(DenialReason::Audience, detail));
        if claims.get("aud").is_none() {
            return if self.audience.is_empty() {
                Ok(())
            } else {
                denied("the token does not say whom it is meant for (`aud`)")
            };
        }
        let meant = claims.texts("aud").unwrap_or_default();
        if self.audience.iter().any(|name| meant.contains(&name.as_str())) {
            return Ok(());
        }
        denied("the token is meant for somebody (`aud`) who is not in auth.jwt.audience")
    }

    /// Who somebody is and what they may do, by claims that were proven and have met the rules.
    pub(super) fn take(&self, claims: &Claims) -> Result<VerifiedToken, Denial> {
        let denied = |name: &str| {
            let detail =
                format!("the claim `{name}` is no text of 1 to 256 bytes without control characters");
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

/// A token from somebody else.
pub(super) fn issuer_denied(detail: &str) -> Denial {
    Denial::unauthenticated(DenialReason::Issuer, detail)
}
