//! Which pages on other hosts may use the broker (Fetch standard, "CORS protocol").

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, HOST, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::problem::Problem;

/// How long a browser may remember a preflight's answer. Chromium keeps none longer than two hours.
const PREFLIGHT_SECONDS: u32 = 7200;

/// The origins that are let in.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    any: bool,
    exact: Vec<String>,
}

impl Origins {
    /// Takes the configured list; `*` stands for every origin.
    #[must_use]
    pub fn new(list: &[String]) -> Self {
        let exact = list.iter().filter(|origin| *origin != "*").cloned().collect();
        Self { any: list.iter().any(|origin| origin == "*"), exact }
    }

    fn is_empty(&self) -> bool {
        !self.any && self.exact.is_empty()
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.exact.iter().any(|exact| exact.as_bytes() == origin.as_bytes())
    }

    /// Puts the headers on an answer that let the page at `origin` read it. Cookies only go to and from origins that
    /// are listed by name: "every origin" together with credentials would let any page act as its visitor.
    pub(super) fn decorate(&self, origin: Option<&HeaderValue>, response: &mut HeaderMap) {
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
        }
    }

    /// The answer to a preflight; the headers of [`decorate`](Self::decorate) come on top of it.
    pub(super) fn preflight(allow: &'static str) -> Response {
        let mut response = Response::new("".into());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(http::header::ALLOW, HeaderValue::from_static(allow));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow));
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(
                "authorization, cache-control, content-type, idempotency-key, last-event-id",
            ),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_SECONDS));
        response
    }

    /// Refuses a request that changes something when it comes from a page that is not let in. A browser sends such a
    /// request without asking first, and CORS would only keep the page from reading the answer.
    pub(super) fn check_sender(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        if self.any || self.lists(origin) || is_same_origin(origin, headers.get(HOST)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin-not-allowed",
            "pages of this origin may not publish: add it to cors.origins, or publish from the backend",
        ))
    }
}

/// Whether an origin names the host that the request was sent to.
fn is_same_origin(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), host.map(HeaderValue::to_str)) else { return false };
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decorated(list: &[&str], origin: Option<&'static str>) -> HeaderMap {
        let list: Vec<String> = list.iter().map(|&origin| origin.to_owned()).collect();
        let mut headers = HeaderMap::new();
        Origins::new(&list).decorate(origin.map(HeaderValue::from_static).as_ref(), &mut headers);
        headers
    }

    #[test]
    fn nothing_is_said_where_nothing_is_configured() {
        assert!(decorated(&[], Some("https://a.example")).is_empty());
    }

    #[test]
    fn a_listed_origin_is_named_and_may_send_cookies() {
        let headers = decorated(&["https://a.example", "https://b.example"], Some("https://b.example"));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://b.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(headers[VARY], "Origin");
    }

    #[test]
    fn others_get_nothing_but_vary() {
        for origin in [None, Some("https://c.example"), Some("https://a.example.evil"), Some("null")] {
            let headers = decorated(&["https://a.example"], origin);
            assert_eq!(headers.len(), 1, "{origin:?}");
            assert_eq!(headers[VARY], "Origin");
        }
    }

    #[test]
    fn every_origin_never_comes_with_credentials() {
        let headers = decorated(&["*"], Some("https://c.example"));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[test]
    fn only_pages_that_are_let_in_publish() {
        let check = |list: &[&str], origin: Option<&'static str>| {
            let list: Vec<String> = list.iter().map(|&origin| origin.to_owned()).collect();
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("live.example:8080"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            Origins::new(&list).check_sender(&headers).is_ok()
        };
        assert!(check(&[], None), "a backend sends no Origin");
        assert!(check(&[], Some("http://live.example:8080")), "the broker's own origin");
        assert!(!check(&[], Some("https://evil.example")));
        assert!(!check(&[], Some("null")));
        assert!(check(&["https://a.example"], Some("https://a.example")));
        assert!(!check(&["https://a.example"], Some("https://evil.example")));
    }
}
