//! What an answer of the app means, and for how long it may be used.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};
use http::{StatusCode, response};
use tokio::time::Instant;

use crate::{Action, Denial, DenialReason};
use tidings_event::{Identity, UserId};

const X_TIDINGS_USER: HeaderName = HeaderName::from_static("x-tidings-user");
const X_TIDINGS_PUBLISH: HeaderName = HeaderName::from_static("x-tidings-publish");

/// The app lets somebody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Who it is, as far as the app said.
    pub identity: Identity,
    /// Until when the app's answer is used again without asking; `None` where the app did not allow that.
    pub until: Option<Instant>,
}

/// What the app said, by 2xx, 401 or 403.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AppResponse {
    pub(super) verdict: Verdict,
    pub(super) until: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    LetIn(Option<UserId>),
    /// The app answered 2xx to the wish to publish, and did not say that it means that.
    NotToPublish,
    Unauthenticated,
    Forbidden,
}

/// Why there is no answer that counts. For the log: nothing here is the client's business.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("status {0}, which is none of 2xx, 401 and 403")]
    Status(u16),
    #[error("X-Tidings-User must be one value of 1 to 256 bytes of UTF-8 without control characters")]
    User,
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    #[error("{0}")]
    Unreachable(String),
    #[error("too many decisions wait for a free slot: see auth.forward.concurrent")]
    Busy,
}

impl AppResponse {
    /// Reads the head of an answer to a question that was asked at `asked`. A cached one is used for `cache_max` at most.
    pub(super) fn read(
        head: &response::Parts,
        action: Action,
        asked: Instant,
        cache_max: Duration,
    ) -> Result<Self, NoAnswer> {
        let verdict = match head.status {
            StatusCode::UNAUTHORIZED => Verdict::Unauthenticated,
            StatusCode::FORBIDDEN => Verdict::Forbidden,
            status if !status.is_success() => return Err(NoAnswer::Status(status.as_u16())),
            // A route that knows nothing of actions must not let every reader write.
            _ if action == Action::Publish && !may_publish(&head.headers) => Verdict::NotToPublish,
            _ => Verdict::LetIn(user(&head.headers)?),
        };
        // From the question on and not from the answer: the app decided at some time in between.
        let until = lifetime(&head.headers).map(|lifetime| asked + lifetime.min(cache_max));
        Ok(Self { verdict, until })
    }

    /// The decision that it is.
    pub(super) fn decide(&self) -> Result<Decision, Denial> {
        match &self.verdict {
            Verdict::LetIn(user) => Ok(Decision {
                identity: Identity { user: user.clone(), ..Identity::default() },
                until: self.until,
            }),
            Verdict::NotToPublish => Err(Denial::forbidden(
                DenialReason::Publish,
                "the app does not let this client publish here: for that its answer has X-Tidings-Publish: true",
            )),
            Verdict::Unauthenticated => Err(Denial::unauthenticated(
                DenialReason::App,
                "the app knows nobody by what this request brings: sign in there, then try again",
            )),
            Verdict::Forbidden => Err(Denial::forbidden(
                DenialReason::App,
                "the app does not let this client into the workspace",
            )),
        }
    }
}

/// Nobody is let in where there is no answer; it may be there the next time.
pub(super) fn unavailable() -> Denial {
    Denial::passing(
        DenialReason::AppUnavailable,
        "the app that decides gave no answer that counts: try again later",
    )
}

fn may_publish(headers: &HeaderMap) -> bool {
    headers.get(X_TIDINGS_PUBLISH).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// The user that the app names. One that is none is no answer at all: a stream of nobody in particular would slip
/// through what is decided by user.
fn user(headers: &HeaderMap) -> Result<Option<UserId>, NoAnswer> {
    let mut values = headers.get_all(X_TIDINGS_USER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| NoAnswer::User)?;
    if values.next().is_some() {
        return Err(NoAnswer::User);
    }
    UserId::parse(text).map(Some).map_err(|_| NoAnswer::User)
}

/// For how long an answer may be used again (RFC 9111 section 4.2): its `max-age` less its `Age`, where it is there.
/// `private` is no hindrance, since an answer is only ever used for the very request that it answered; `s-maxage`,
/// which is for caches that many share, does not count. Where anything is in doubt the answer is not used again.
fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let mut max_age = None;
    for value in headers.get_all(header::CACHE_CONTROL) {
        for directive in value.to_str().ok()?.split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return None,
                "max-age" => {
                    let seconds = seconds(argument.trim().trim_matches('"'))?;
                    // Of two that differ, the shorter.
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

/// Delta-seconds (RFC 9111 section 1.2.2); a number too large to be held is as good as the largest.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // The largest has to leave room for sums with times.
    digits.then(|| text.parse::<u32>().unwrap_or(u32::MAX).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn read(status: u16, lines: &[(&'static str, &str)], action: Action) -> Result<Verdict, NoAnswer> {
        let mut response = http::Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers(lines);
        let (head, ()) = response.into_parts();
        AppResponse::read(&head, action, Instant::now(), Duration::ZERO).map(|answer| answer.verdict)
    }

    /// Only a 2xx response of the app grants access; a status without a meaning is no decision.
    #[test]
    fn every_status_has_one_meaning() {
        for status in 100..=599 {
            let expected = match status {
                200..=299 => Ok(Verdict::LetIn(None)),
                401 => Ok(Verdict::Unauthenticated),
                403 => Ok(Verdict::Forbidden),
                _ => Err(NoAnswer::Status(status)),
            };
            assert_eq!(read(status, &[], Action::Subscribe), expected);
        }
    }

    #[test]
    fn publishing_takes_a_word_of_its_own() {
        for value in ["true", "True"] {
            let verdict = read(204, &[("x-tidings-publish", value)], Action::Publish);
            assert_eq!(verdict, Ok(Verdict::LetIn(None)));
        }
        for lines in [&[][..], &[("x-tidings-publish", "false")], &[("x-tidings-publish", "1")]] {
            assert_eq!(read(204, lines, Action::Publish), Ok(Verdict::NotToPublish));
            assert_eq!(read(204, lines, Action::Subscribe), Ok(Verdict::LetIn(None)));
        }
        assert_eq!(read(403, &[("x-tidings-publish", "true")], Action::Publish), Ok(Verdict::Forbidden));
    }

    #[test]
    fn a_user_that_is_none_is_no_answer() {
        let user = |lines: &[_]| read(200, lines, Action::Subscribe);
        let jorg = UserId::parse("Jörg").unwrap();
        assert_eq!(user(&[("x-tidings-user", "Jörg")]), Ok(Verdict::LetIn(Some(jorg))));
        let long = "x".repeat(257);
        for value in ["", "a\tb", &long] {
            assert_eq!(user(&[("x-tidings-user", value)]), Err(NoAnswer::User), "{value:?}");
        }
        assert_eq!(user(&[("x-tidings-user", "a"), ("x-tidings-user", "b")]), Err(NoAnswer::User));
    }

    #[test]
    fn an_answer_is_used_again_only_as_it_allows() {
        let lifetime = |lines: &[_]| lifetime(&headers(lines)).map(|lifetime| lifetime.as_secs());
        for (value, expected) in [
            ("max-age=60", Some(60)),
            ("private, Max-Age=60, must-revalidate", Some(60)),
            ("public,max-age=\"60\"", Some(60)),
            ("max-age=60, s-maxage=5", Some(60)),
            ("max-age=60, max-age=30", Some(30)),
            ("max-age=99999999999999999999", Some(4_294_967_295)),
            ("s-maxage=60", None),
            ("max-age=0", None),
            ("max-age=-1", None),
            ("max-age=soon, max-age=60", None),
            ("max-age", None),
            ("max-age=60, no-store", None),
            ("No-Cache, max-age=60", None),
            ("no-cache=\"set-cookie\", max-age=60", None),
            ("", None),
        ] {
            assert_eq!(lifetime(&[("cache-control", value)]), expected, "{value:?}");
        }
        assert_eq!(lifetime(&[]), None);
        assert_eq!(lifetime(&[("cache-control", "max-age=60"), ("cache-control", "no-store")]), None);
        assert_eq!(lifetime(&[("cache-control", "max-age=60"), ("age", "20")]), Some(40));
        assert_eq!(lifetime(&[("cache-control", "max-age=60"), ("age", "60")]), None);
        assert_eq!(lifetime(&[("cache-control", "max-age=60"), ("vary", "*")]), None);
        assert_eq!(lifetime(&[("cache-control", "max-age=60"), ("vary", "cookie")]), Some(60));
    }
}
