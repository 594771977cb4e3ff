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
mod tests;
