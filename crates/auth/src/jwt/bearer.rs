//! The token in a request.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use super::Token;
use crate::JwtConfig;
use crate::{Denial, DenialReason};

/// The places beside `Authorization` in which a request may carry its token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSources {
    /// The name of a cookie.
    pub cookie: Option<String>,
    /// Whether the query parameter `token` counts.
    pub query: bool,
}

impl TokenSources {
    /// Returns the places in the configuration.
    #[must_use]
    pub fn new(config: &JwtConfig) -> Self {
        let cookie = (!config.cookie.is_empty()).then(|| config.cookie.clone());
        Self { cookie, query: config.query }
    }
}

/// Returns the token of a request: from `Authorization: Bearer` (RFC 6750 section 2.1), the cookie
/// or the query, which is decoded as a form. Returns `None` without a token; credentials of another
/// scheme do not count.
///
/// # Errors
///
/// Returns a denial if a text is not a token, or if there are two different tokens, because it is
/// undefined which one counts.
pub fn find(headers: &HeaderMap, query: &str, sources: &TokenSources) -> Result<Option<Token>, Denial> {
    let mut found = FoundToken::default();
    for value in headers.get_all(AUTHORIZATION) {
        if let Some(text) = bearer(value.as_bytes())? {
            found.add(text)?;
        }
    }
    if let Some(name) = &sources.cookie {
        for header in headers.get_all(COOKIE) {
            for text in cookies(header.as_bytes(), name) {
                found.add(utf8(text)?)?;
            }
        }
    }
    if sources.query {
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name == "token" && !value.is_empty() {
                found.add(&value)?;
            }
        }
    }
    Ok(found.0)
}

#[derive(Default)]
struct FoundToken(Option<Token>);

impl FoundToken {
    fn add(&mut self, text: &str) -> Result<(), Denial> {
        let token = Token::parse(text)?;
        match &self.0 {
            Some(first) if *first != token => Err(Denial::unauthenticated(
                DenialReason::Credentials,
                "the request has two different tokens: send one",
            )),
            Some(_) => Ok(()),
            None => {
                self.0 = Some(token);
                Ok(())
            }
        }
    }
}

/// Returns the text behind the scheme `Bearer`, in upper or lower case (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Result<Option<&str>, Denial> {
    let value = value.trim_ascii();
    let end = value.iter().position(|b| *b == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    utf8(rest.trim_ascii()).map(Some)
}

/// Returns the values of a cookie (RFC 6265 section 4.2.1) without quotes. An empty value does not
/// count, because pages clear a cookie in this way.
fn cookies<'a>(header: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    header.split(|b| *b == b';').filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        (!bare.is_empty()).then_some(bare)
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, Denial> {
    std::str::from_utf8(bytes).map_err(|_| {
        Denial::unauthenticated(
            DenialReason::Form,
            "the token has characters that are not allowed in a token",
        )
    })
}

#[cfg(test)]
mod tests {
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
}
