//! Which pages on other hosts may use the broker (Fetch standard, "CORS protocol").

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, AUTHORIZATION,
    COOKIE, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::problem::Problem;

/// The time for which a browser may cache a preflight. Chromium caches none longer than two hours.
const PREFLIGHT_SECONDS: u32 = 7200;

/// The request headers that pages may set: those that the broker reads, and those that tracing and
/// HTTP libraries add by themselves.
const REQUEST_HEADERS: [&str; 9] = [
    "authorization",
    "baggage",
    "cache-control",
    "content-type",
    "idempotency-key",
    "last-event-id",
    "traceparent",
    "tracestate",
    "x-requested-with",
];

/// The headers of responses that pages may read beside those of the Fetch standard.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("retry-after, www-authenticate");

/// The listed origins, and the request headers that their pages may set.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    any: bool,
    exact: Vec<String>,
    patterns: Vec<Subdomains>,
    headers: BTreeSet<String>,
}

/// All subdomains of a domain, at one scheme and port.
#[derive(Debug, Clone)]
struct Subdomains {
    /// Up to the star: `https://`.
    before: String,
    /// Behind it: `.example.com`, perhaps with a port.
    behind: String,
}

impl Origins {
    /// Parses the configured list. `*` is every origin, and at the beginning of a host it is any
    /// subdomain.
    #[must_use]
    pub fn new(list: &[String]) -> Self {
        let mut origins = Self::default();
        for origin in list {
            match origin.split_once('*') {
                Some(("", "")) => origins.any = true,
                Some((before, behind)) => {
                    origins
                        .patterns
                        .push(Subdomains { before: before.to_owned(), behind: behind.to_owned() });
                }
                None => origins.exact.push(origin.clone()),
            }
        }
        origins.with_headers(&REQUEST_HEADERS)
    }

    /// Lets pages set further request headers.
    #[must_use]
    pub fn with_headers<T: AsRef<str>>(mut self, names: &[T]) -> Self {
        self.headers.extend(names.iter().map(|name| name.as_ref().to_ascii_lowercase()));
        self
    }

    fn is_empty(&self) -> bool {
        !self.any && self.exact.is_empty() && self.patterns.is_empty()
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.exact.iter().any(|exact| exact == origin)
            || self.patterns.iter().any(|pattern| pattern.covers(origin))
    }

    /// Sets the headers that let the page at `origin` read a response. Cookies go only to listed
    /// origins, by name or as subdomains. "Every origin" together with credentials would let any
    /// page act as its visitor.
    fn decorate(&self, origin: Option<&HeaderValue>, response: &mut HeaderMap) {
        if self.is_empty() {
            return;
        }
        response.append(VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin else { return };
        if self.lists(origin) {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        } else if self.any {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            return;
        }
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    }

    /// The response to a preflight; the headers of [`decorate`](Self::decorate) are added to it.
    fn preflight(&self, allow: &'static str) -> Response {
        let mut response = Response::new("".into());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(http::header::ALLOW, HeaderValue::from_static(allow));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow));
        let names: Vec<&str> = self.headers.iter().map(String::as_str).collect();
        // The configuration takes names of headers alone, which are all visible.
        if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_SECONDS));
        response
    }

    /// Rejects a request that changes something if it comes from a page whose origin is not
    /// listed. A browser sends such a request without a preflight, and CORS would only hide the
    /// response. "Every origin" admits pages that send their own credentials, and no page that
    /// uses those of the visitor's browser. `scheme` and `host` are those of the request, as far as
    /// they are known.
    fn check_sender(
        &self,
        headers: &HeaderMap,
        scheme: Option<&str>,
        host: Option<&str>,
    ) -> Result<(), Problem> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        if self.lists(origin) || is_same_origin(origin, scheme, host) || self.any && !has_ambient(headers) {
            return Ok(());
        }
        if self.any {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "origin-not-allowed",
                "\"*\" in cors.origins lets no page publish with its visitor's cookies: name this origin there, or send no \
                 cookies",
            ));
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin-not-allowed",
            "pages of this origin may not publish: add it to cors.origins, or publish from the backend",
        ))
    }
}

/// The rules for pages on other hosts, which can be replaced while requests use them.
#[derive(Debug, Default)]
pub struct CorsRules(ArcSwap<Origins>);

impl CorsRules {
    /// Creates rules with these origins.
    #[must_use]
    pub fn new(origins: Origins) -> Self {
        Self(ArcSwap::from_pointee(origins))
    }

    /// Replaces the origins for all later requests.
    pub fn replace(&self, origins: Origins) {
        self.0.store(Arc::new(origins));
    }

    /// As [`Origins::decorate`].
    pub(crate) fn decorate(&self, origin: Option<&HeaderValue>, response: &mut HeaderMap) {
        self.0.load().decorate(origin, response);
    }

    /// As [`Origins::preflight`].
    pub(crate) fn preflight(&self, allow: &'static str) -> Response {
        self.0.load().preflight(allow)
    }

    /// As [`Origins::check_sender`].
    pub(crate) fn check_sender(
        &self,
        headers: &HeaderMap,
        scheme: Option<&str>,
        host: Option<&str>,
    ) -> Result<(), Problem> {
        self.0.load().check_sender(headers, scheme, host)
    }
}

impl Subdomains {
    /// Whether an origin is one or more whole labels below the domain.
    fn covers(&self, origin: &str) -> bool {
        let labels = origin
            .strip_prefix(&*self.before)
            .and_then(|rest| rest.strip_suffix(&*self.behind))
            .unwrap_or("");
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        labels.split('.').all(|label| !label.is_empty() && label.bytes().all(allowed))
    }
}

/// Whether a request carries credentials that a browser adds by itself for any page. These are
/// cookies, and every scheme of `Authorization` except Bearer, which only a page's own script
/// sets.
fn has_ambient(headers: &HeaderMap) -> bool {
    let is_bearer = |value: &HeaderValue| {
        value.as_bytes().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    };
    headers.contains_key(COOKIE) || !headers.get_all(AUTHORIZATION).iter().all(is_bearer)
}

/// Whether an origin is the one that the request was sent to. Where the client's scheme is not
/// known, the host decides.
fn is_same_origin(origin: &HeaderValue, known_scheme: Option<&str>, host: Option<&str>) -> bool {
    let (Ok(origin), Some(host)) = (origin.to_str(), host) else { return false };
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    // A browser leaves the default port out of an origin; another client may name it.
    let host = match scheme {
        "http" => host.strip_suffix(":80").unwrap_or(host),
        "https" => host.strip_suffix(":443").unwrap_or(host),
        _ => return false,
    };
    authority.eq_ignore_ascii_case(host) && known_scheme.is_none_or(|known| known == scheme)
}

#[cfg(test)]
mod tests;
