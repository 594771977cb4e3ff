use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

fn read(status: u16, lines: &[(&'static str, &str)], action: Action) -> Result<Verdict, NoResponse> {
    let mut response = http::Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    *response.headers_mut() = headers(lines);
    let (head, ()) = response.into_parts();
    AppResponse::read(&head, action, Instant::now(), Duration::ZERO).map(|response| response.verdict)
}

/// Only a 2xx response of the app grants access; a status without a meaning is no decision.
#[test]
fn every_status_has_one_meaning() {
    for status in 100..=599 {
        let expected = match status {
            200..=299 => Ok(Verdict::Accepted(None)),
            401 => Ok(Verdict::Unauthenticated),
            403 => Ok(Verdict::Forbidden),
            _ => Err(NoResponse::Status(status)),
        };
        assert_eq!(read(status, &[], Action::Subscribe), expected);
    }
}

#[test]
fn publishing_needs_its_own_header() {
    for value in ["true", "True"] {
        let verdict = read(204, &[("x-tidings-publish", value)], Action::Publish);
        assert_eq!(verdict, Ok(Verdict::Accepted(None)));
    }
    for lines in [&[][..], &[("x-tidings-publish", "false")], &[("x-tidings-publish", "1")]] {
        assert_eq!(read(204, lines, Action::Publish), Ok(Verdict::PublishNotAllowed));
        assert_eq!(read(204, lines, Action::Subscribe), Ok(Verdict::Accepted(None)));
    }
    assert_eq!(read(403, &[("x-tidings-publish", "true")], Action::Publish), Ok(Verdict::Forbidden));
}

#[test]
fn invalid_user_makes_the_response_invalid() {
    let user = |lines: &[_]| read(200, lines, Action::Subscribe);
    let jorg = UserId::parse("Jörg").unwrap();
    assert_eq!(user(&[("x-tidings-user", "Jörg")]), Ok(Verdict::Accepted(Some(jorg))));
    let long = "x".repeat(257);
    for value in ["", "a\tb", &long] {
        assert_eq!(user(&[("x-tidings-user", value)]), Err(NoResponse::User), "{value:?}");
    }
    assert_eq!(user(&[("x-tidings-user", "a"), ("x-tidings-user", "b")]), Err(NoResponse::User));
}

#[test]
fn response_is_used_again_only_as_it_allows() {
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
