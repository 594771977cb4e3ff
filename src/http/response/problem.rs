//! Errors as `application/problem+json` (RFC 9457). Each has a stable `type` and says what to do.

use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{HeaderName, StatusCode};
use serde_json::json;
use warp::reply::Response;

use super::refusal::Refusal;
use tidings_event::UserId;

/// An error response.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Which check was not passed, if it is about one (an extension member, RFC 9457 section 3.2).
    check: Option<&'static str>,
    /// The limit that is reached, for the log.
    limit: Option<&'static str>,
    /// The user, for the log.
    user: Option<UserId>,
}

impl Problem {
    /// Creates an error of a kind. The sentence says what is wrong and what to do.
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            headers: Vec::new(),
            check: None,
            limit: None,
            user: None,
        }
    }

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The path is none of ours.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// The path is right and the method is not.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", format!("this path takes {allow}"))
            .with_header(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// A query parameter has a wrong value.
    #[must_use]
    pub fn bad_query(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-query", detail)
    }

    /// The bus is away for now.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            .with_header(header::RETRY_AFTER, seconds(retry_after))
    }

    /// The client sends more than the rate limit permits.
    #[must_use]
    pub fn rate_limited(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail)
            .with_header(header::RETRY_AFTER, seconds(retry_after))
    }

    /// Says which check was not passed.
    #[must_use]
    pub fn with_check(mut self, check: &'static str) -> Self {
        self.check = Some(check);
        self
    }

    /// Names the limit that is reached, for the log alone.
    #[must_use]
    pub(crate) fn at_limit(mut self, limit: &'static str) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Names the user, for the log alone.
    #[must_use]
    pub(crate) fn of_user(mut self, user: Option<&UserId>) -> Self {
        self.user = user.cloned();
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The response with the problem as its body.
    #[must_use]
    pub fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:tidings:problem:{}", self.kind),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(check) = self.check {
            body["check"] = check.into();
        }
        let mut response = Response::new(format!("{body}\n").into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        let check = self.check.or(self.limit);
        let refusal = Refusal { reason: self.kind, check, user: self.user, request: None };
        response.extensions_mut().insert(refusal);
        response
    }
}

/// Whole seconds, at least one (RFC 9110 section 10.2.3). A random share of up to half is added,
/// so that clients rejected together do not return together.
fn seconds(time: Duration) -> HeaderValue {
    HeaderValue::from((time.as_secs_f64() * (1.0 + fastrand::f64() / 2.0)).ceil().max(1.0) as u64)
}
