//! Events in JSON envelopes, which name an audience: `{"data": …, "to": ["u1"]}`.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use tidings_bus::Item;
use tidings_event::Audience;

/// The media type of an envelope.
const MEDIA_TYPE: &str = "application/vnd.tidings.event+json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default, deserialize_with = "users")]
    to: Option<Vec<Cow<'a, str>>>,
}

/// A list. Null is an error: a mistake must not turn a private event into a public one.
fn users<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Vec<Cow<'de, str>>>, D::Error> {
    Vec::deserialize(json).map(Some)
}

/// Whether a body's media type says that it is an envelope.
pub(crate) fn is_announced(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(MEDIA_TYPE)
}

/// Opens an envelope. A string in `data` is the payload as text; any other JSON is the payload as
/// it is written.
///
/// # Errors
///
/// Returns the mistake as a text for the publisher.
pub(crate) fn open(envelope: &Bytes) -> Result<Item, String> {
    let opened: Envelope<'_> = serde_json::from_slice(envelope).map_err(|error| error.to_string())?;
    let data = opened.data.get();
    let payload = if data.starts_with('"') {
        Bytes::from(serde_json::from_str::<String>(data).map_err(|error| error.to_string())?)
    } else {
        envelope.slice_ref(data.as_bytes())
    };
    let to = opened.to.map(|users| Audience::new(&users).map(Arc::new)).transpose();
    Ok(Item { payload, to: to.map_err(|error| format!("`to`: {error}"))? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(json: &str) -> Result<(String, Option<String>), String> {
        let item = open(&Bytes::from(json.to_owned()))?;
        let payload = String::from_utf8(item.payload.to_vec()).unwrap();
        Ok((payload, item.to.map(|to| to.as_json().to_owned())))
    }

    #[test]
    fn payload_is_the_text_or_the_json_as_written() {
        for (json, payload, to) in [
            (r#"{"data":"a \"b\"\n"}"#, "a \"b\"\n", None),
            (
                r#"{ "to": ["u1"], "data": { "b" : 1.00, "a":[ ] } }"#,
                r#"{ "b" : 1.00, "a":[ ] }"#,
                Some("[\"u1\"]"),
            ),
            (r#"{"data":null}"#, "null", None),
            (r#"{"data":12345678901234567890123}"#, "12345678901234567890123", None),
            (r#"{"data":"","to":["a","\u00fc"]}"#, "", Some("[\"a\",\"ü\"]")),
        ] {
            assert_eq!(opened(json), Ok((payload.to_owned(), to.map(str::to_owned))), "{json}");
        }
    }

    /// A mistake in an envelope is an error; it never publishes to all clients.
    #[test]
    fn malformed_envelope_is_rejected() {
        for json in [
            "",
            "{}",
            "[]",
            "\"text\"",
            r#"{"data":1,"to":null}"#,
            r#"{"data":1,"to":[]}"#,
            r#"{"data":1,"to":"u1"}"#,
            r#"{"data":1,"to":[null]}"#,
            r#"{"data":1,"to":[""]}"#,
            r#"{"data":1,"To":["u1"]}"#,
            r#"{"data":1,"users":["u1"]}"#,
            r#"{"data":1,"data":2}"#,
            r#"{"data":1,"to":["a"],"to":["b"]}"#,
            r#"{"data":1} x"#,
            r#"{"data":{"a":}}"#,
        ] {
            assert!(opened(json).is_err(), "{json}");
        }
    }

    #[test]
    fn the_media_type_announces_it() {
        let announced =
            |value: &str| is_announced(&HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]));
        assert!(announced("application/vnd.tidings.event+json"));
        assert!(announced("Application/Vnd.Tidings.Event+JSON; charset=utf-8"));
        assert!(!announced("application/json") && !is_announced(&HeaderMap::new()));
    }
}
