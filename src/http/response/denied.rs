//! The response to a denial.

use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use warp::reply::Response;

use super::event_stream;
use super::problem::Problem;
use super::refusal::Refusal;
use tidings_auth::{Denial, DenialKind, DenialReason};
use tidings_delivery::StreamSettings;
use tidings_event::control::ReconnectReason;
use tidings_metrics::Metrics;

/// The response to a request for a stream. A temporary denial is `tidings.reconnect`, so that an
/// `EventSource` survives it. A final one is 204, which ends an `EventSource` (WHATWG HTML section
/// 9.2.3). A client that asks for a status gets a problem for both.
pub(crate) fn stream_response(
    streams: &StreamSettings,
    denial: &Denial,
    by_status: bool,
) -> Result<Response, Problem> {
    let metrics = &streams.metrics;
    match denial.kind {
        DenialKind::Passing if !by_status => {
            metrics.count_denial(denial.reason.as_str());
            let reason = ReconnectReason::Unverified;
            Ok(refused(event_stream::reconnect(streams, reason), reason.as_str(), denial))
        }
        DenialKind::Final if !by_status => {
            metrics.count_denial(denial.reason.as_str());
            let mut response = Response::new("".into());
            *response.status_mut() = StatusCode::NO_CONTENT;
            // A shared cache may store this status otherwise (RFC 9110 section 15.3.5).
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(refused(response, "disconnected", denial))
        }
        _ => Err(problem(metrics, streams.retry, denial)),
    }
}

/// The response to any other request. `retry` is the time after which its client tries again if
/// the denial is temporary.
pub(crate) fn problem(metrics: &Metrics, retry: Duration, denial: &Denial) -> Problem {
    metrics.count_denial(denial.reason.as_str());
    let detail = denial.detail.clone();
    let problem = match denial.kind {
        DenialKind::Unauthenticated => Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .with_header(WWW_AUTHENTICATE, challenge(denial.reason)),
        DenialKind::Forbidden => Problem::new(StatusCode::FORBIDDEN, "forbidden", detail),
        DenialKind::Final => Problem::new(StatusCode::FORBIDDEN, "disconnected", detail),
        DenialKind::Passing => Problem::unavailable(detail, retry),
    };
    problem.with_check(denial.reason.as_str()).of_user(denial.user.as_ref())
}

/// Notes in a response that has no problem the denial for its log line.
fn refused(mut response: Response, reason: &'static str, denial: &Denial) -> Response {
    let check = Some(denial.reason.as_str());
    response.extensions_mut().insert(Refusal { reason, check, user: denial.user.clone(), request: None });
    response
}

/// RFC 6750 section 3: the challenge names an error only if the request had a token.
fn challenge(check: DenialReason) -> HeaderValue {
    HeaderValue::from_static(match check {
        DenialReason::Credentials | DenialReason::App => r#"Bearer realm="tidings""#,
        _ => r#"Bearer realm="tidings", error="invalid_token""#,
    })
}
