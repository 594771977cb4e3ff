//! The compact form of a token (RFC 7515 section 7.1): three parts in base64url, separated by dots.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::claims::Claims;
use super::token::TOKEN_BYTES_MAX;
use crate::{Denial, DenialReason};

/// Limits the id of a key, in bytes.
pub(super) const KEY_ID_BYTES_MAX: usize = 256;

/// A parsed token. Nothing in it is verified.
#[derive(Debug)]
pub(super) struct TokenForm<'a> {
    /// The algorithm in the header; `None` if it is not known, such as `none`.
    pub(super) algorithm: Option<Algorithm>,
    /// The text of the algorithm.
    pub(super) algorithm_text: String,
    /// The id of the key in the header.
    pub(super) key_id: Option<String>,
    /// The signed text: the encoded header and claims.
    pub(super) signed: &'a str,
    /// The encoded signature.
    pub(super) signature: &'a str,
    /// The claims.
    pub(super) claims: Claims,
}

impl<'a> TokenForm<'a> {
    /// Parses a token after a check of its size.
    pub(super) fn parse(token: &'a str) -> Result<Self, Denial> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(denied("it is too long"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(|| denied(PARTS))?;
        let (header, claims) = signed.split_once('.').ok_or_else(|| denied(PARTS))?;
        if claims.contains('.') {
            return Err(denied(PARTS));
        }
        let header = object(header).ok_or_else(|| denied("its header is not a JSON object in base64url"))?;
        let claims = object(claims).ok_or_else(|| denied("its claims are not a JSON object in base64url"))?;
        // RFC 7515 section 4.1.11: a receiver must reject a token with a critical extension that it
        // does not support. This verifier supports none.
        if header.contains_key("crit") {
            return Err(denied("its header has `crit`, and no extension is supported"));
        }
        let algorithm_text =
            header.get("alg").and_then(Value::as_str).ok_or_else(|| denied("its header has no `alg`"))?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= KEY_ID_BYTES_MAX => Some(id.clone()),
            Some(_) => return Err(denied("its `kid` is not a text, or is too long")),
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

const PARTS: &str = "it does not have three parts separated by dots";

fn denied(error: &str) -> Denial {
    Denial::unauthenticated(DenialReason::Form, format!("the token is not a signed JWT: {error}"))
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
    fn token_has_a_header_claims_and_a_signature() {
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
    fn text_that_is_no_signed_token_is_rejected() {
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
            assert_eq!(TokenForm::parse(&text).unwrap_err().reason, DenialReason::Form, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_and_header_parse_without_panic(text in ".*", header in any::<Vec<u8>>(), claims in any::<Vec<u8>>()) {
            let _ = TokenForm::parse(&text);
            let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
            let _ = TokenForm::parse(&format!("{}.{}.{text}", parts[0], parts[1]));
        }
    }
}
