//! The envelope: the message with which the publish script announces a durable event.
//!
//! Its form is `tidings/1 <id> <previous id> [audience] [key=value …]\n<payload>`. An event for all
//! users has no audience. The key `traceparent` has the trace of the event. A node ignores other
//! keys, so that a fleet can mix versions. Any other message is an empty message or a live payload.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::audience::{self, Audience};
use super::position::EntryId;
use super::trace_parent::TraceParent;

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
        /// The trace; `None` if the publisher sent none, or none that is valid.
        trace: Option<TraceParent>,
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
    let trace = fields.map_or(Ok(None), read_fields)?;
    let to = audience.map(|json| Audience::parse(json.as_bytes()).map(Arc::new));
    let to = to.transpose().map_err(|_| EnvelopeError)?;
    Ok(Message::Logged { id, previous, payload: message.slice(end + 1..), to, trace })
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

/// Checks the fields and returns the trace among them. An invalid trace counts as none.
///
/// One space separates the fields. A key consists of lower-case letters, digits and `-`, a value of
/// visible ASCII characters.
fn read_fields(fields: &str) -> Result<Option<TraceParent>, EnvelopeError> {
    let is_key = |key: &str| {
        key.starts_with(|first: char| first.is_ascii_lowercase())
            && key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    // It does not end at the first wrong byte, so the compiler checks several at once.
    let is_visible = |so_far, byte: u8| so_far & (byte.is_ascii_graphic() | (byte == b' '));
    if fields.len() >= FIELDS_BYTES_MAX || !fields.bytes().fold(true, is_visible) {
        return Err(EnvelopeError);
    }
    let mut trace = None;
    for field in fields.split(' ') {
        match field.split_once('=').ok_or(EnvelopeError)? {
            ("traceparent", value) => _ = trace.get_or_insert_with(|| value.parse().ok()),
            (key, _) if is_key(key) => {}
            _ => return Err(EnvelopeError),
        }
    }
    Ok(trace.flatten())
}

/// Encodes an envelope without a trace, as the publish script does.
#[must_use]
pub fn encode(id: EntryId, previous: EntryId, payload: &[u8], to: Option<&Audience>) -> Bytes {
    encode_traced(id, previous, payload, to, None)
}

/// The same, with the trace of the event.
#[must_use]
pub fn encode_traced(
    id: EntryId,
    previous: EntryId,
    payload: &[u8],
    to: Option<&Audience>,
    trace: Option<TraceParent>,
) -> Bytes {
    let mut head = format!("tidings/1 {id} {previous}");
    // Writing to a text does not fail.
    if let Some(to) = to {
        let _ = write!(head, " {}", to.as_json());
    }
    if let Some(trace) = trace {
        let _ = write!(head, " traceparent={trace}");
    }
    head.push('\n');
    let mut message = head.into_bytes();
    message.extend_from_slice(payload);
    message.into()
}

#[cfg(test)]
mod tests;
