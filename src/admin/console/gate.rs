//! The requests that the console accepts: for its hosts, from its own page, with credentials.

use std::time::Instant;

use http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, WWW_AUTHENTICATE,
};
use http::{Method, StatusCode};

use super::Console;
use super::digest::SecretDigest;
use super::sessions::SESSION_LIFETIME;
use super::sign_in_limit::SignInLimit;
use crate::http::Problem;
use crate::http::request::request_context::RequestContext;
use tidings_metrics::SignInOutcome;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The proof with which a request was accepted.
#[derive(Debug, Clone, Copy)]
pub(super) enum ConsoleCredential {
    /// A session, by its cookie.
    Session(SecretDigest),
    /// The admin token.
    Token(SecretDigest),
}

impl Console {
    /// Rejects a request for another host, which a page may have made its own name for.
    ///
    /// # Errors
    ///
    /// Returns 421.
    pub(super) fn check_host(&self, request: &RequestContext) -> Result<(), Problem> {
        let is_known = |host: &str| self.settings.hosts.contain_authority(host);
        // A page can set the header of a proxy, but not the host of its own request.
        let own = request.headers.get(HOST).and_then(|host| host.to_str().ok());
        let client = request.peer.client.host.as_deref();
        if own.is_none_or(is_known) && client.is_some_and(is_known) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown-host",
            "the console does not know this host, which could be a page's own name for this machine: use a loopback name or the \
             address of the listener, or add the name to admin.hosts",
        ))
    }

    /// Returns the proof that a request may use the API.
    ///
    /// # Errors
    ///
    /// Returns 401, or 429 for a token after too many wrong ones.
    pub(super) fn authenticate(&self, request: &RequestContext) -> Result<ConsoleCredential, Problem> {
        let headers = &request.headers;
        // A token that is given counts, so that a wrong one is noticed.
        if let Some(token) = bearer(headers) {
            let token = SecretDigest::of(token);
            self.check_token(&token, request)?;
            return Ok(ConsoleCredential::Token(token));
        }
        let session = self.cookie(headers).map(|secret| ConsoleCredential::Session(SecretDigest::of(secret)));
        session.filter(|credential| self.is_valid(credential)).ok_or_else(|| self.unauthenticated())
    }

    /// Compares a token with the admin token, unless the client has failed too often.
    ///
    /// # Errors
    ///
    /// Returns 401 or 429.
    pub(super) fn check_token(&self, token: &SecretDigest, request: &RequestContext) -> Result<(), Problem> {
        self.check_limit(&self.sign_in_limit, request)?;
        if self.parts.token.is(token) {
            Ok(())
        } else {
            Err(self.count_failure(&self.sign_in_limit, request))
        }
    }

    /// Uses up the link of a request. A right link is accepted in any case, so that no other
    /// program on its machine keeps the operator out. Wrong ones have a limit of their own. Any
    /// page can lead a browser here, and must not keep its user from signing in by the token.
    ///
    /// # Errors
    ///
    /// Returns 401 or 429.
    pub(super) fn check_link(&self, request: &RequestContext) -> Result<(), Problem> {
        let mut query = form_urlencoded::parse(request.query.as_bytes());
        let link = query.find(|(name, _)| name == "link").map(|(_, link)| SecretDigest::of(&link));
        if link.is_some_and(|link| self.sessions.redeem(&link, Instant::now())) {
            return Ok(());
        }
        self.check_limit(&self.link_limit, request)?;
        Err(self.count_failure(&self.link_limit, request))
    }

    /// Rejects a client that has failed too often.
    fn check_limit(&self, limit: &SignInLimit, request: &RequestContext) -> Result<(), Problem> {
        let Some(wait) = limit.wait(request.peer.client.address, Instant::now()) else {
            return Ok(());
        };
        self.parts.node.metrics().count_sign_in(SignInOutcome::Limited);
        let detail = "too many wrong tokens or links came from this address: wait a minute";
        Err(Problem::rate_limited(detail, wait).with_check("console"))
    }

    /// Counts a wrong token or link; returns the response.
    fn count_failure(&self, limit: &SignInLimit, request: &RequestContext) -> Problem {
        limit.add(request.peer.client.address, Instant::now());
        self.parts.node.metrics().count_sign_in(SignInOutcome::Rejected);
        self.unauthenticated()
    }

    /// Whether a proof is still valid.
    pub(super) fn is_valid(&self, credential: &ConsoleCredential) -> bool {
        match credential {
            ConsoleCredential::Session(secret) => {
                self.sessions.holds(secret, Instant::now(), |token| self.parts.token.is(token))
            }
            ConsoleCredential::Token(token) => self.parts.token.is(token),
        }
    }

    /// The response to a request without valid credentials.
    pub(super) fn unauthenticated(&self) -> Problem {
        let detail = if self.parts.token.is_set() {
            "this needs a session of the console, or the admin token: sign in on the page, or send Authorization: Bearer with the \
             value of admin.token"
        } else {
            "this needs a session of the console: open the link that `tidings serve` prints on a terminal, or set admin.token"
        };
        Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .with_check("console")
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="tidings console""#))
    }

    /// The name of the cookie. Cookies know no ports, so nodes on one host have different names.
    fn cookie_name(&self) -> String {
        format!("tidings-console-{}", self.settings.port)
    }

    fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.cookie_name();
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|cookies| cookies.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find_map(|(found, value)| (found == name).then_some(value))
    }

    /// The `Set-Cookie` header of a session; `None` ends it.
    pub(super) fn set_cookie(&self, secret: Option<&str>, secure: bool) -> Option<HeaderValue> {
        let (name, secret) =
            (self.cookie_name(), secret.map_or(("", 0), |secret| (secret, SESSION_LIFETIME.as_secs())));
        let (value, age) = secret;
        let secure = if secure { "; Secure" } else { "" };
        HeaderValue::from_str(&format!(
            "{name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={age}{secure}"
        ))
        .ok()
    }
}

/// Rejects a request that a page of another origin sends.
///
/// # Errors
///
/// Returns 403; 415 for a change whose body is not declared as JSON.
pub(super) fn check_sender(method: &Method, request: &RequestContext) -> Result<(), Problem> {
    let (headers, client) = (&request.headers, &request.peer.client);
    let is_from_elsewhere = headers
        .get_all(SEC_FETCH_SITE)
        .iter()
        .any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    let is_other_origin = headers
        .get_all(ORIGIN)
        .iter()
        .any(|origin| !client.host.as_deref().is_some_and(|host| is_origin_of(origin, host)));
    if is_from_elsewhere || is_other_origin {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin-not-allowed",
            "a page of another origin sent this request: use the console's own page, or a tool",
        ));
    }
    let is_json = headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
    });
    if *method == Method::POST && !is_json {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "the console takes JSON: send Content-Type: application/json",
        ));
    }
    Ok(())
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether an origin is that of the host of a request. Behind a proxy with TLS the node does not
/// know the scheme, so both count.
fn is_origin_of(origin: &HeaderValue, host: &str) -> bool {
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
        return false;
    };
    // A browser leaves the default port out of an origin; another client may name it.
    let host = match scheme {
        "http" => host.strip_suffix(":80").unwrap_or(host),
        "https" => host.strip_suffix(":443").unwrap_or(host),
        _ => return false,
    };
    authority.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_that_of_the_host() {
        let is = |origin: &'static str, host| is_origin_of(&HeaderValue::from_static(origin), host);
        assert!(is("http://127.0.0.1:8081", "127.0.0.1:8081") && is("https://a.example", "a.example:443"));
        assert!(!is("http://127.0.0.1:8080", "127.0.0.1:8081") && !is("http://a.example", "b.example"));
        assert!(!is("null", "a.example") && !is("ftp://a.example", "a.example"));
    }

    #[test]
    fn bearer_is_any_case_of_the_scheme() {
        let of = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("bearer  x"), Some("x".to_owned()));
        assert_eq!((of("Basic x"), of("Bearer")), (None, None));
    }
}
