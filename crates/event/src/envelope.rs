//! The envelope: the message with which the publish script announces a durable event.
//!
//! Its form is `tidings/1 <id> <previous id> [audience] [key=value …]\n<payload>`. An event for all
//! users has no audience. A node ignores unknown keys, so that a fleet can mix versions. Any other
//! message is an empty message or a live payload.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::audience::{self, Audience};
use super::position::EntryId;

/// The first bytes of each envelope.
const MAGIC: &[u8] = b"tidings/1 ";

/// Limits all `key=value` fields together, in bytes, each with the space before it.
const FIELDS_BYTES_MAX: usize = 4096;

/// Limits the first line of an envelope, in bytes.
///
/// The line has the magic, two ids of at most 41 bytes, an audience and the fields. One space
/// precedes the second id, one the audience.
const HEAD_BYTES_MAX: usize = MAGIC.len() + 41 + 1 + 41 + 1 + audience::TEXT_BYTES_MAX + FIELDS_BYTES_MAX;

/// A parsed message of a workspace's channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// An empty message: the log may have a new entry.
    LookAtLog,
    /// The payload of a live event.
    Live(Bytes),
    /// A durable event.
    Logged {
        /// The id of its entry.
        id: EntryId,
        /// The id of the previous entry; [`EntryId::ZERO`] for the first one.
        previous: EntryId,
        /// The payload.
        payload: Bytes,
        /// The audience; `None` for an event for all users.
        to: Option<Arc<Audience>>,
    },
}

/// Reports that a message begins like an envelope and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a message that begins with `tidings/1 ` is not an envelope: expected `tidings/1 <id> <previous id>`, \
     an audience if the event is private, fields such as `key=value` if there are any, and a line feed"
)]
pub struct EnvelopeError;

/// Parses a message. The payload shares the message's bytes.
///
/// # Errors
///
/// Returns [`EnvelopeError`] if the message begins like an envelope and is none.
pub fn parse(message: &Bytes) -> Result<Message, EnvelopeError> {
    if message.is_empty() {
        return Ok(Message::LookAtLog);
    }
    if !message.starts_with(MAGIC) {
        return Ok(Message::Live(message.clone()));
    }
    let searched = &message[..message.len().min(HEAD_BYTES_MAX + 1)];
    let end = searched.iter().position(|&byte| byte == b'\n').ok_or(EnvelopeError)?;
    let head = std::str::from_utf8(&message[MAGIC.len()..end]).map_err(|_| EnvelopeError)?;
    let mut parts = head.splitn(3, ' ');
    let (id, previous) = (parts.next().unwrap_or_default(), parts.next().ok_or(EnvelopeError)?);
    let id: EntryId = id.parse().map_err(|_| EnvelopeError)?;
    let previous: EntryId = previous.parse().map_err(|_| EnvelopeError)?;
    if previous >= id {
        return Err(EnvelopeError);
    }
    let (audience, fields) = split_audience(parts.next())?;
    fields.map_or(Ok(()), check_fields)?;
    let to = audience.map(|json| Audience::parse(json.as_bytes()).map(Arc::new));
    let to = to.transpose().map_err(|_| EnvelopeError)?;
    Ok(Message::Logged { id, previous, payload: message.slice(end + 1..), to })
}

/// Splits the text behind the ids into the audience, which is JSON and may contain spaces, and the
/// fields.
fn split_audience(rest: Option<&str>) -> Result<(Option<&str>, Option<&str>), EnvelopeError> {
    let Some(rest) = rest else { return Ok((None, None)) };
    if !rest.starts_with('[') {
        return Ok((None, Some(rest)));
    }
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
    values.next().and_then(Result::ok).ok_or(EnvelopeError)?;
    let (audience, fields) = rest.split_at(values.byte_offset());
    match fields.strip_prefix(' ') {
        Some(fields) => Ok((Some(audience), Some(fields))),
        None if fields.is_empty() => Ok((Some(audience), None)),
        None => Err(EnvelopeError),
    }
}

/// Checks that one space separates the fields, that a key consists of lower-case letters, digits
/// and `-`, and a value of visible ASCII characters.
fn check_fields(fields: &str) -> Result<(), EnvelopeError> {
    let is_key = |key: &str| {
        key.starts_with(|first: char| first.is_ascii_lowercase())
            && key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    let is_field = |field: &str| {
        let (key, value) = field.split_once('=')?;
        (is_key(key) && value.bytes().all(|byte| byte.is_ascii_graphic())).then_some(())
    };
    if fields.len() < FIELDS_BYTES_MAX && fields.split(' ').all(|field| is_field(field).is_some()) {
        Ok(())
    } else {
        Err(EnvelopeError)
    }
}

/// Encodes an envelope as the publish script does.
#[must_use]
pub fn encode(id: EntryId, previous: EntryId, payload: &[u8], to: Option<&Audience>) -> Bytes {
    let mut message = match to {
        None => format!("tidings/1 {id} {previous}\n"),
        Some(to) => format!("tidings/1 {id} {previous} {}\n", to.as_json()),
    }
    .into_bytes();
    message.extend_from_slice(payload);
    message.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn message_is_empty_live_or_envelope() {
        assert_eq!(parse(&Bytes::new()), Ok(Message::LookAtLog));
        assert_eq!(parse(&Bytes::from_static(b"{}")), Ok(Message::Live(Bytes::from_static(b"{}"))));
        assert_eq!(
            parse(&Bytes::from_static(b"tidings/1 5-1 5-0\na\nb")),
            Ok(Message::Logged {
                id: EntryId { milliseconds: 5, sequence: 1 },
                previous: EntryId { milliseconds: 5, sequence: 0 },
                payload: Bytes::from_static(b"a\nb"),
                to: None,
            })
        );
    }

    #[test]
    fn audience_may_contain_spaces() {
        let message = Bytes::from_static(b"tidings/1 5-1 0-0 [\"a b\",\"c\"]\n{}");
        let Ok(Message::Logged { payload, to: Some(to), .. }) = parse(&message) else { panic!() };
        assert_eq!((&*payload, to.as_json()), (&b"{}"[..], r#"["a b","c"]"#));
    }

    #[test]
    fn unknown_key_is_ignored() {
        for (head, users) in [
            ("tidings/1 5-1 0-0 epoch=abcdefgh0123", None),
            ("tidings/1 5-1 0-0 a=1 trace-id=00-4bf92f-01 empty=", None),
            (r#"tidings/1 5-1 0-0 ["a] =b","c"] a=[x]"#, Some(r#"["a] =b","c"]"#)),
        ] {
            let message = Bytes::from(format!("{head}\n{{}}"));
            let Ok(Message::Logged { payload, to, previous, .. }) = parse(&message) else { panic!("{head}") };
            assert_eq!((&*payload, previous), (&b"{}"[..], EntryId::ZERO));
            assert_eq!(to.as_deref().map(Audience::as_json), users, "{head}");
        }
    }

    #[test]
    fn fields_are_bounded() {
        let with =
            |value: usize| parse(&Bytes::from(format!("tidings/1 5-1 0-0 a={}\nx", "1".repeat(value))));
        assert!(with(FIELDS_BYTES_MAX - 3).is_ok());
        assert_eq!(with(FIELDS_BYTES_MAX - 2), Err(EnvelopeError));
    }

    #[test]
    fn message_that_only_begins_like_an_envelope_is_rejected() {
        for message in [
            "tidings/1 ",
            "tidings/1 5-1",
            "tidings/1 5-1 5-0",
            "tidings/1 5-1\n5-0\n",
            "tidings/1 5-0 5-0\nx",
            "tidings/1 5-0 5-1\nx",
            "tidings/1  5-1 5-0\nx",
            "tidings/1 5-1 5-0 \nx",
            "tidings/1 5-1 5-0 []\nx",
            "tidings/1 5-1 5-0 [1]\nx",
            "tidings/1 5-1 5-0 null\nx",
            "tidings/1 5-1 5-0 [\"a\n\"]\nx",
            "tidings/1 5-1 5-0 [\"a\"] \"b\"\nx",
            "tidings/1 5-1 5-0[\"a\"]\nx",
            "tidings/1 a b\nx",
            "tidings/1 5-1 5-0 word\nx",
            "tidings/1 5-1 5-0 =value\nx",
            "tidings/1 5-1 5-0 Key=value\nx",
            "tidings/1 5-1 5-0  key=value\nx",
            "tidings/1 5-1 5-0 key=value \nx",
            "tidings/1 5-1 5-0 key=v\u{e9}\nx",
            "tidings/1 5-1 5-0 key=value [\"a\"]\nx",
            "tidings/1 5-1 5-0 [\"a\"]key=value\nx",
        ] {
            assert_eq!(parse(&Bytes::from_static(message.as_bytes())), Err(EnvelopeError), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn encoded_envelope_parses_to_the_same_message(
            milliseconds in 1u64.., sequence: u64, payload: Vec<u8>,
            users in proptest::option::of(proptest::collection::vec("[^\\p{Cc}]{1,9}", 1..5)),
        ) {
            let id = EntryId { milliseconds, sequence };
            let payload = Bytes::from(payload);
            let to = users.map(|users| Arc::new(Audience::new(&users).unwrap()));
            prop_assert_eq!(
                parse(&encode(id, EntryId::ZERO, &payload, to.as_deref())),
                Ok(Message::Logged { id, previous: EntryId::ZERO, payload, to })
            );
        }

        #[test]
        fn any_bytes_parse_or_are_rejected(tail: Vec<u8>, envelope: bool) {
            let mut message = if envelope { MAGIC.to_vec() } else { Vec::new() };
            message.extend(tail);
            let _ = parse(&Bytes::from(message));
        }
    }
}
