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
        && !super::is_loopback(config.server.listen)
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
mod tests {
    use crate::config::Sources;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn load(settings: &[(&str, &str)]) -> Result<(), String> {
        let environment = settings
            .iter()
            .map(|(key, value)| {
                let variable = format!("TIDINGS__AUTH__{}", key.to_ascii_uppercase().replace('.', "__"));
                (variable, (*value).to_owned())
            })
            .collect();
        let loaded = Sources { environment, ..Sources::default() }.load();
        loaded.map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_of_key_goes_with_its_algorithms() {
        for settings in [
            &[("mode", "jwt"), ("jwt.algorithm", "HS256"), ("jwt.secret", SECRET)][..],
            &[("mode", "jwt"), ("jwt.algorithm", "HS256,HS384"), ("jwt.secret_file", "/secret")],
            &[("mode", "forward,jwt"), ("jwt.algorithm", "ES256"), ("jwt.public_key", "PEM")],
            &[("mode", "jwt"), ("jwt.algorithm", "EdDSA"), ("jwt.public_key_file", "/key.pem")],
            &[("mode", "jwt"), ("jwt.algorithm", "RS256,ES256"), ("jwt.jwks_url", "https://a/jwks")],
            &[
                ("mode", "jwt"),
                ("jwt.algorithm", "RS256"),
                ("jwt.jwks_url", "https://a/jwks,https://b/jwks"),
                ("jwt.issuer", "https://a,https://b"),
            ],
            &[
                ("mode", "jwt"),
                ("jwt.algorithm", "RS256"),
                ("jwt.jwks_url", "http://keycloak.auth:8080/jwks"),
                ("jwt.jwks_over_http", "true"),
            ],
            &[("mode", "jwt"), ("jwt.algorithm", "HS256"), ("jwt.secret_file", "/new,/old")],
            // For `tidings token`, and ready to be switched on.
            &[("mode", "none"), ("jwt.algorithm", "HS256"), ("jwt.secret", SECRET)],
        ] {
            let loaded = load(settings);
            // Another method of the same mode may ask for keys of its own.
            let mine = loaded.err().filter(|error| error.contains("auth.jwt"));
            assert_eq!(mine, None, "{settings:?}");
        }
    }

    #[test]
    fn contradicting_settings_are_rejected_with_a_fix() {
        for (settings, words) in [
            (&[("mode", "jwt")][..], &["tokens need a key", "TIDINGS__AUTH__JWT__SECRET"][..]),
            (&[("mode", "jwt"), ("jwt.secret", SECRET)], &["auth.jwt.algorithm", "never taken from a token"]),
            (&[("mode", "jwt"), ("jwt.algorithm", "HS256")], &["tokens need a key"]),
            (
                &[("mode", "jwt"), ("jwt.algorithm", "RS256"), ("jwt.secret", SECRET)],
                &["HS256, HS384 and HS512 take auth.jwt.secret"],
            ),
            (
                &[("mode", "jwt"), ("jwt.algorithm", "HS256"), ("jwt.public_key_file", "/key.pem")],
                &["auth.jwt.public_key_file is [\"/key.pem\"]"],
            ),
            (
                &[("jwt.algorithm", "HS256"), ("jwt.secret", SECRET), ("jwt.secret_file", "/secret")],
                &["keys come from one place"],
            ),
            (&[("jwt.algorithm", "none")], &["expected HS256, HS384, HS512 for a shared secret"]),
            (&[("jwt.jwks_url", "http://id.example.com/jwks")], &["http only on this machine"]),
            (&[("jwt.secret_previous", SECRET)], &["set that too"]),
            (&[("jwt.key_reload_seconds", "0")], &["more than 0 seconds"]),
            (&[("jwt.jwks_url", "https://a/,https://b/"), ("jwt.issuer", "a")], &["as many issuers"]),
            (&[("jwt.leeway_seconds", "601")], &["0 to 600 seconds"]),
            (&[("jwt.cookie", "a b")], &["the name of a cookie"]),
            (&[("jwt.claim_user", "")], &["the name of a claim"]),
            (&[("jwt.jwks_timeout_seconds", "0")], &["more than 0 seconds"]),
        ] {
            let error = load(settings).unwrap_err();
            for word in words {
                assert!(error.contains(word), "{settings:?}: {error}");
            }
            assert!(!error.contains(&SECRET[1..]), "{error}");
        }
    }

    #[test]
    fn no_message_shows_a_key() {
        for (key, value) in [
            ("jwt.secret", "s3cret"),
            ("jwt.secret_previous", "s3cret"),
            ("jwt.public_key", "-----BEGIN PRIVATE KEY-----\ns3cret"),
            ("jwt.jwks_url", "https://user:s3cret@host/jwks"),
        ] {
            let settings =
                [("mode", "jwt"), ("jwt.algorithm", "HS512"), ("jwt.secret_file", "/secret"), (key, value)];
            let error = load(&settings).unwrap_err();
            assert!(error.contains(key) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_short_secret_does_on_this_machine_alone() {
        for (listen, algorithm, secret, told) in [
            ("127.0.0.1:8080", "HS256", "short", None),
            ("0.0.0.0:8080", "HS256", SECRET, None),
            ("0.0.0.0:8080", "HS256", &SECRET[1..], Some("at least 32 bytes for HS256")),
            ("0.0.0.0:8080", "HS256,HS512", SECRET, Some("at least 64 bytes for HS256, HS512")),
        ] {
            let variables = [
                ("TIDINGS__SERVER__LISTEN", listen),
                ("TIDINGS__AUTH__MODE", "jwt"),
                ("TIDINGS__AUTH__JWT__ALGORITHM", algorithm),
                ("TIDINGS__AUTH__JWT__SECRET", secret),
            ];
            let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let error =
                Sources { environment, ..Sources::default() }.load().err().map(|error| error.to_string());
            match (&error, told) {
                (None, None) => {}
                (Some(error), Some(told)) => {
                    assert!(error.contains(told) && error.contains("openssl rand"), "{error}");
                }
                _ => panic!("{listen} {algorithm}: {error:?}"),
            }
        }
    }
}
