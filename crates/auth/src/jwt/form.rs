//! The compact form of a token (RFC 7515 section 7.1): three parts in base64url, separated by dots.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::claims::Claims;
use super::token::TOKEN_BYTES_MAX;
use crate::{Denial, DenialReason};

/// The longest id of a key, in bytes.
pub(super) const KEY_ID_BYTES_MAX: usize = 256;

/// A token taken apart. Nothing in it is proven.
#[derive(Debug)]
pub(super) struct TokenForm<'a> {
    /// What it says it is signed with; `None` where that is no algorithm known here, such as `none`.
    pub(super) algorithm: Option<Algorithm>,
    /// The same as it stands there.
    pub(super) algorithm_text: String,
    /// The key that it names.
    pub(super) key_id: Option<String>,
    /// What is signed: header and claims as they stand.
    pub(super) signed: &'a str,
    /// The signature as it stands.
    pub(super) signature: &'a str,
    /// What it says.
    pub(super) claims: Claims,
}

impl<'a> TokenForm<'a> {
    /// Takes a token apart, after a look at its size.
    pub(super) fn parse(token: &'a str) -> Result<Self, Denial> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(denied("it is too long"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(|| denied(PARTS))?;
        let (header, claims) = signed.split_once('.').ok_or_else(|| denied(PARTS))?;
        if claims.contains('.') {
            return Err(denied(PARTS));
        }
        let header = object(header).ok_or_else(|| denied("its header is no JSON object in base64url"))?;
        let claims = object(claims).ok_or_else(|| denied("its claims are no JSON object in base64url"))?;
        // RFC 7515 section 4.1.11: who does not understand an extension that is called critical must refuse the token,
        // and no extension is understood here.
        if header.contains_key("crit") {
            return Err(denied("its header has `crit`, and no extension is understood here"));
        }
        let algorithm_text =
            header.get("alg").and_then(Value::as_str).ok_or_else(|| denied("its header has no `alg`"))?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= KEY_ID_BYTES_MAX => Some(id.clone()),
            Some(_) => return Err(denied("its `kid` is no text, or is too long")),
        };
        Ok(Self {
            algorithm: algorithm_text.parse().ok(),
            algorithm_text: algorithm_text.to_owned(),
            key_id,
            signed,
            signature,
            claims: Claims::new(claims),
        })
    }
}

const PARTS: &str = "it has not three parts separated by dots";

fn denied(why: &str) -> Denial {
    Denial::unauthenticated(DenialReason::Form, format!("the token is no signed JWT: {why}"))
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_taken_apart() {
        let text = token(r#"{"alg":"RS256","kid":"a","typ":"JWT"}"#, r#"{"sub":"u"}"#);
        let form = TokenForm::parse(&text).unwrap();
        assert_eq!((form.algorithm, form.key_id.as_deref()), (Some(Algorithm::RS256), Some("a")));
        assert_eq!((form.signed, form.signature), text.rsplit_once('.').unwrap());
        for unknown in ["none", "None", "", "rs256", "ES512"] {
            let text = token(&format!(r#"{{"alg":"{unknown}"}}"#), "{}");
            assert_eq!(TokenForm::parse(&text).unwrap().algorithm, None);
        }
    }

    #[test]
    fn what_is_no_signed_token_is_refused() {
        let good = token(r#"{"alg":"HS256"}"#, "{}");
        assert!(TokenForm::parse(&good).is_ok());
        let parts: Vec<&str> = good.split('.').collect();
        for text in [
            String::new(),
            "..".to_owned(),
            "a.b".to_owned(),
            format!("{}.{}", parts[0], parts[1]),
            format!("{good}.c2ln"),
            format!("{good}.c2ln.c2ln"),
            format!("{}=.{}.c2ln", parts[0], parts[1]),
            token("[]", "{}"),
            token("{}", "{}"),
            token(r#"{"alg":1}"#, "{}"),
            token(r#"{"alg":"HS256"}"#, "[]"),
            token(r#"{"alg":"HS256"}"#, ""),
            token(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, "{}"),
            token(r#"{"alg":"HS256","crit":[]}"#, "{}"),
            token(r#"{"alg":"HS256","crit":null}"#, "{}"),
            token(r#"{"alg":"HS256","kid":7}"#, "{}"),
            token(&format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "x".repeat(257)), "{}"),
            format!("{good}{}", "x".repeat(TOKEN_BYTES_MAX)),
        ] {
            assert_eq!(TokenForm::parse(&text).unwrap_err().check, DenialReason::Form, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_and_no_header_makes_it_panic(text in ".*", header in any::<Vec<u8>>(), claims in any::<Vec<u8>>()) {
            let _ = TokenForm::parse(&text);
            let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
            let _ = TokenForm::parse(&format!("{}.{}.{text}", parts[0], parts[1]));
        }
    }
}
