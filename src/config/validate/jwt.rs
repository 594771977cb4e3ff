//! Rules for `[auth.jwt]` that need no file. The verifier checks the rest when it is made.

use super::{Checks, Config};
use crate::config::AuthMethod;
use tidings_auth::JwtConfig;
use tidings_auth::jwt::config::{KeySource, is_jwks_url};

/// The most key sets: each costs a request and a waiting task of its own.
const JWKS_URLS_MAX: usize = 16;

pub(super) fn problems(checks: &mut Checks<'_>, config: &Config) {
    let jwt = &config.auth.jwt;
    values(checks, jwt);
    let sources = jwt.key_sources();
    if let [first, second, ..] = sources[..] {
        checks.pair([first.key(), second.key()], false, ONE_SOURCE);
    }
    match (config.auth.mode.uses(AuthMethod::Jwt), jwt.algorithm.use_secret(), sources.first()) {
        (true, _, None) => checks.pair(["auth.mode", "auth.jwt.secret"], false, NO_SOURCE),
        (true, None, Some(_)) => checks.pair(["auth.mode", "auth.jwt.algorithm"], false, NO_ALGORITHM),
        (_, Some(secret), Some(source)) => {
            checks.pair(["auth.jwt.algorithm", source.key()], secret == source.is_secret(), KIND);
        }
        (false, None, _) | (false, _, None) => {}
    }
    // On this machine alone a short one does for a try; the start warns of it.
    if let Some(KeySource::Secret(secret, previous)) = sources.first()
        && jwt.algorithm.use_secret() == Some(true)
        && !config.is_for_this_machine()
    {
        let least = jwt.algorithm.secret_bytes_min();
        let expected = format!(
            "at least {least} bytes for {} (RFC 7518 section 3.2): make one with `openssl rand -base64 48`",
            jwt.algorithm
        );
        checks.value("auth.jwt.secret", secret.reveal().len() >= least, &expected);
        let before = previous.reveal().len();
        checks.value("auth.jwt.secret_previous", before == 0 || before >= least, &expected);
    }
}

fn values(checks: &mut Checks<'_>, jwt: &JwtConfig) {
    let urls = jwt.jwks_url.len() <= JWKS_URLS_MAX
        && jwt.jwks_url.iter().all(|url| is_jwks_url(url, jwt.jwks_over_http));
    checks.value("auth.jwt.jwks_url", urls, JWKS_URL);
    checks.pair(
        ["auth.jwt.secret_previous", "auth.jwt.secret"],
        jwt.secret_previous.is_empty() || !jwt.secret.is_empty(),
        "auth.jwt.secret_previous is the one before auth.jwt.secret: set that too; of files, auth.jwt.secret_file takes several",
    );
    checks.positive("auth.jwt.key_reload_seconds", jwt.key_reload_seconds);
    checks.pair(["auth.jwt.jwks_url", "auth.jwt.issuer"], jwt.binds_issuers(), ISSUERS);
    checks.positive("auth.jwt.jwks_refresh_seconds", jwt.jwks_refresh_seconds);
    checks.positive("auth.jwt.jwks_timeout_seconds", jwt.jwks_timeout_seconds);
    checks.positive("auth.jwt.jwks_min_interval_seconds", jwt.jwks_min_interval_seconds);
    let leeway = jwt.leeway_seconds.duration().as_secs() <= 600;
    checks.value("auth.jwt.leeway_seconds", leeway, "0 to 600 seconds");
    checks.value("auth.jwt.cookie", jwt.cookie.is_empty() || is_cookie_name(&jwt.cookie), COOKIE);
    for (key, name) in [
        ("auth.jwt.claim_workspaces", &jwt.claim_workspaces),
        ("auth.jwt.claim_publish", &jwt.claim_publish),
        ("auth.jwt.claim_user", &jwt.claim_user),
    ] {
        checks.value(key, !name.is_empty(), "the name of a claim");
    }
}

/// A token in the sense of RFC 9110 section 5.6.2, as RFC 6265 section 4.1.1 wants the name of a
/// cookie.
fn is_cookie_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

const ONE_SOURCE: &str = "keys come from one place: set one of auth.jwt.secret, auth.jwt.secret_file, auth.jwt.public_key, \
     auth.jwt.public_key_file, auth.jwt.jwks_url, and leave the others empty";
const NO_SOURCE: &str = "tokens need a key: set auth.jwt.secret (by TIDINGS__AUTH__JWT__SECRET), auth.jwt.secret_file, \
     auth.jwt.public_key, auth.jwt.public_key_file or auth.jwt.jwks_url";
const NO_ALGORITHM: &str = "the algorithm is never taken from a token: set auth.jwt.algorithm, such as \"HS256\" for a secret \
     or \"RS256\" for a public key";
const KIND: &str =
    "HS256, HS384 and HS512 take auth.jwt.secret or auth.jwt.secret_file, and all others take a public key";
const JWKS_URL: &str = "up to 16 addresses such as https://id.example.com/.well-known/jwks.json, without a name and password; \
     http only on this machine, or with auth.jwt.jwks_over_http = true";
const ISSUERS: &str = "several key sets need as many issuers, in the same order, so that the keys of one do not vouch for another";
const COOKIE: &str = "nothing, or the name of a cookie: letters, digits and !#$%&'*+-.^_`|~";

#[cfg(test)]
mod tests;
