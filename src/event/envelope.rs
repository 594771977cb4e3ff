//! The form in which the publish script announces a logged event on the workspace's channel:
//! `tidings/1 <id> <previous id>\n<payload>`, or `tidings/1 <id> <previous id> <audience>\n<payload>` where it is not for
//! everybody. Any other message is a live payload.

use std::sync::Arc;

use bytes::Bytes;

use super::audience::{self, Audience};
use super::position::EntryId;

/// What every envelope begins with.
const MAGIC: &[u8] = b"tidings/1 ";

/// The longest line that can be an envelope's head: magic, two ids of at most 41 bytes, an audience, a space before each of
/// the latter two.
const HEAD_BYTES_MAX: usize = MAGIC.len() + 41 + 1 + 41 + 1 + audience::TEXT_BYTES_MAX;

/// A message of a workspace's channel, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// An empty message: the log may hold something new.
    LookAtLog,
    /// A payload that was published without the log.
    Live(Bytes),
    /// An event that stands in the log.
    Logged {
        /// Its id.
        id: EntryId,
        /// The id of the entry before it; [`EntryId::ZERO`] for the first.
        previous: EntryId,
        /// Its payload.
        payload: Bytes,
        /// For whom it is; `None` where it is for everybody.
        to: Option<Arc<Audience>>,
    },
}

/// An envelope's head is not what the publish script writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a message that begins with `tidings/1 ` is not an envelope: expected `tidings/1 <id> <previous id>`, an audience if it \
     is not for everybody, and a line feed"
)]
pub struct EnvelopeError;

/// Takes a message apart. The payload shares the message's bytes.
///
/// # Errors
///
/// [`EnvelopeError`] when the message begins like an envelope and is none.
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
    let to = parts.next().map(|json| Audience::parse(json.as_bytes()).map(Arc::new));
    let to = to.transpose().map_err(|_| EnvelopeError)?;
    Ok(Message::Logged { id, previous, payload: message.slice(end + 1..), to })
}

/// Writes an envelope, as the publish script does.
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
    fn tells_the_three_kinds_apart() {
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
    fn an_audience_is_the_rest_of_the_line() {
        let message = Bytes::from_static(b"tidings/1 5-1 0-0 [\"a b\",\"c\"]\n{}");
        let Ok(Message::Logged { payload, to: Some(to), .. }) = parse(&message) else { panic!() };
        assert_eq!((&*payload, to.as_json()), (&b"{}"[..], r#"["a b","c"]"#));
    }

    #[test]
    fn refuses_what_only_begins_like_an_envelope() {
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
        ] {
            assert_eq!(parse(&Bytes::from_static(message.as_bytes())), Err(EnvelopeError), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again(
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
        fn any_bytes_are_read_or_refused(tail: Vec<u8>, envelope: bool) {
            let mut message = if envelope { MAGIC.to_vec() } else { Vec::new() };
            message.extend(tail);
            let _ = parse(&Bytes::from(message));
        }
    }
}
