//! The meaning of the app's response, and the time for which it may be used again.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};
use http::{StatusCode, response};
use tokio::time::Instant;

use crate::{Action, Denial, DenialReason};
use tidings_event::{Identity, UserId};

const X_TIDINGS_USER: HeaderName = HeaderName::from_static("x-tidings-user");
const X_TIDINGS_PUBLISH: HeaderName = HeaderName::from_static("x-tidings-publish");

/// The app's decision to accept a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The identity, as far as the app named it.
    pub identity: Identity,
    /// The time until which the response may be used again; `None` if the app did not allow that.
    pub until: Option<Instant>,
}

/// A valid response of the app: 2xx, 401 or 403.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AppResponse {
    pub(super) verdict: Verdict,
    pub(super) until: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted(Option<UserId>),
    /// 2xx to a request to publish, without the header that allows it.
    PublishNotAllowed,
    Unauthenticated,
    Forbidden,
}

/// The reason for which there is no valid response. It is for the log only, never for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoResponse {
    #[error("status {0}, which is none of 2xx, 401 and 403")]
    Status(u16),
    #[error("X-Tidings-User must be one value of 1 to 256 bytes of UTF-8 without control characters")]
    User,
    #[error("no response within {} s (auth.forward.timeout_seconds)", .0.as_secs_f64())]
    Timeout(Duration),
    #[error("{0}")]
    Unreachable(String),
    #[error("too many decisions wait for a free slot: see auth.forward.concurrent")]
    Busy,
}

impl AppResponse {
    /// Interprets the head of a response to a request that was sent at `asked`. The response is
    /// used again for at most `cache_max`.
    pub(super) fn read(
        head: &response::Parts,
        action: Action,
        asked: Instant,
        cache_max: Duration,
    ) -> Result<Self, NoResponse> {
        let verdict = match head.status {
            StatusCode::UNAUTHORIZED => Verdict::Unauthenticated,
            StatusCode::FORBIDDEN => Verdict::Forbidden,
            status if !status.is_success() => return Err(NoResponse::Status(status.as_u16())),
            // A route that does not know actions must not allow every reader to publish.
            _ if action == Action::Publish && !may_publish(&head.headers) => Verdict::PublishNotAllowed,
            _ => Verdict::Accepted(user(&head.headers)?),
        };
        // From the request on, because the app decided at some time after that.
        let until = lifetime(&head.headers).map(|lifetime| asked + lifetime.min(cache_max));
        Ok(Self { verdict, until })
    }

    /// Returns the decision.
    pub(super) fn decide(&self) -> Result<Decision, Denial> {
        match &self.verdict {
            Verdict::Accepted(user) => Ok(Decision {
                identity: Identity { user: user.clone(), ..Identity::default() },
                until: self.until,
            }),
            Verdict::PublishNotAllowed => Err(Denial::forbidden(
                DenialReason::Publish,
                "the app does not allow this client to publish here: for that its response needs X-Tidings-Publish: true",
            )),
            Verdict::Unauthenticated => Err(Denial::unauthenticated(
                DenialReason::App,
                "the app does not know the credentials of this request: sign in there, then try again",
            )),
            Verdict::Forbidden => Err(Denial::forbidden(
                DenialReason::App,
                "the app does not allow this client to use the workspace",
            )),
        }
    }
}

/// Returns the denial for a missing response. The next request may get one.
pub(super) fn unavailable() -> Denial {
    Denial::passing(DenialReason::AppUnavailable, "the app gave no valid response: try again later")
}

fn may_publish(headers: &HeaderMap) -> bool {
    headers.get(X_TIDINGS_PUBLISH).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// Returns the user that the app names. An invalid user makes the whole response invalid, because a
/// stream without a user would escape all decisions by user.
fn user(headers: &HeaderMap) -> Result<Option<UserId>, NoResponse> {
    let mut values = headers.get_all(X_TIDINGS_USER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| NoResponse::User)?;
    if values.next().is_some() {
        return Err(NoResponse::User);
    }
    UserId::parse(text).map(Some).map_err(|_| NoResponse::User)
}

/// Returns the time for which a response may be used again (RFC 9111 section 4.2): its `max-age`
/// less its `Age`, if there is one.
///
/// `private` does not prevent it, because a response is only used again for an equal request.
/// `s-maxage` is for shared caches and does not count. In doubt the response is not used again.
fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let mut max_age = None;
    for value in headers.get_all(header::CACHE_CONTROL) {
        for directive in value.to_str().ok()?.split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return None,
                "max-age" => {
                    let seconds = seconds(argument.trim().trim_matches('"'))?;
                    // Of two different values, the shorter one counts.
                    max_age = Some(max_age.map_or(seconds, |other: u64| other.min(seconds)));
                }
                _ => {}
            }
        }
    }
    if headers.get_all(header::VARY).iter().any(|value| value.as_bytes().contains(&b'*')) {
        return None;
    }
    let age = match headers.get(header::AGE) {
        Some(age) => seconds(age.to_str().ok()?.trim())?,
        None => 0,
    };
    let left = max_age?.saturating_sub(age);
    (left > 0).then(|| Duration::from_secs(left))
}

/// Parses delta-seconds (RFC 9111 section 1.2.2); a number that is too large becomes the largest
/// one.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // 32 bits, so that sums with times cannot overflow.
    digits.then(|| text.parse::<u32>().unwrap_or(u32::MAX).into())
}

#[cfg(test)]
mod tests;
