use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn all_sources() -> TokenSources {
    TokenSources { cookie: Some("session".to_owned()), query: true }
}

fn found(
    headers: &[(&'static str, &str)],
    query: &str,
    sources: &TokenSources,
) -> Result<Option<String>, DenialReason> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let found = find(&map, query, sources).map_err(|denial| denial.reason)?;
    Ok(found.map(|token| token.reveal().to_owned()))
}

#[test]
fn token_is_in_the_header_the_cookie_or_the_query() {
    for (headers, query) in [
        (&[("authorization", "Bearer a.b.c")][..], ""),
        (&[("authorization", "bEARER   a.b.c ")], ""),
        (&[("authorization", "Basic dTpw"), ("authorization", "Bearer a.b.c")], ""),
        (&[("cookie", "session=a.b.c")], ""),
        (&[("cookie", "x=1;session=\"a.b.c\" ; y=2")], ""),
        (&[("cookie", "x=1"), ("cookie", "session=a.b.c")], ""),
        (&[("cookie", "session=; session=a.b.c")], ""),
        (&[], "types=A&token=a.b.c"),
        (&[], "token=&token=a%2Eb.c"),
        (&[("authorization", "Bearer a.b.c"), ("cookie", "session=a.b.c")], "token=a.b.c"),
    ] {
        assert_eq!(
            found(headers, query, &all_sources()),
            Ok(Some("a.b.c".to_owned())),
            "{headers:?} {query}"
        );
    }
}

#[test]
fn places_that_are_not_configured_do_not_count() {
    let headers = [("cookie", "session=a.b.c"), ("authorization", "Digest x")];
    assert_eq!(found(&headers, "token=d", &TokenSources::default()), Ok(None));
    for name in ["Session=a", "xsession=a", "session2=a", "session", "x=session=a"] {
        assert_eq!(found(&[("cookie", name)], "ticket=a&Token=b", &all_sources()), Ok(None), "{name}");
    }
    assert_eq!(found(&[("authorization", "Bearerx a")], "", &all_sources()), Ok(None));
}

#[test]
fn invalid_token_is_rejected_and_not_skipped() {
    for headers in [
        &[("authorization", "Bearer")][..],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer a b")],
        &[("authorization", "Bearer a,b")],
        &[("authorization", "Bearer ä")],
        &[("authorization", "Bearer \"a\""), ("cookie", "session=a.b.c")],
        &[("cookie", "session=a b")],
    ] {
        assert_eq!(found(headers, "", &all_sources()), Err(DenialReason::Form), "{headers:?}");
    }
    let long = format!("Bearer {}", "x".repeat(9_000));
    assert_eq!(found(&[("authorization", &long)], "", &all_sources()), Err(DenialReason::Form));
}

#[test]
fn two_different_tokens_are_rejected() {
    for (headers, query) in [
        (&[("authorization", "Bearer a"), ("authorization", "Bearer b")][..], ""),
        (&[("authorization", "Bearer a"), ("cookie", "session=b")], ""),
        (&[("cookie", "session=a; session=b")], ""),
        (&[("cookie", "session=a")], "token=b"),
        (&[], "token=a&token=b"),
    ] {
        assert_eq!(
            found(headers, query, &all_sources()),
            Err(DenialReason::Credentials),
            "{headers:?} {query}"
        );
    }
}

proptest! {
    #[test]
    fn any_header_and_query_are_read_without_panic(value in any::<Vec<u8>>(), query in ".*", bearer in any::<bool>()) {
        let value = if bearer { [b"Bearer ", &*value].concat() } else { value };
        let mut map = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            map.append(AUTHORIZATION, value.clone());
            map.append(COOKIE, value);
        }
        if let Ok(Some(token)) = find(&map, &query, &all_sources()) {
            prop_assert!(Token::parse(token.reveal()).is_ok());
        }
    }
}
