//! The bytes of one event on the wire (WHATWG HTML, section 9.2 "Server-sent events"). A node
//! encodes them once for all subscribers.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::audience::Audience;
use super::control::{self, ResetReason};
use super::position::Position;

/// Limits the payload's `type`, in bytes. A longer one counts as none.
pub const EVENT_TYPE_BYTES_MAX: usize = 256;

/// The prefix of the node's own event names. A payload's `type` with this prefix never becomes an
/// `event:` field, so that no publisher can imitate a node.
pub const RESERVED_PREFIX: &str = "tidings.";

/// The events that a browser itself fires at an `EventSource` (WHATWG HTML, section 9.2.2).
///
/// Such a `type` never becomes an `event:` field. `error` and `open` would call the page's handlers
/// for its connection, and `message` is the name of an event without the field.
pub const BROWSER_EVENTS: [&str; 3] = ["error", "message", "open"];

/// Holds one event of a workspace as bytes on the wire.
pub struct Frame {
    position: Position,
    origin: Origin,
    to: Option<Arc<Audience>>,
    plain: Bytes,
    named: OnceLock<Bytes>,
}

/// The source of an event.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    /// A publisher. The text is the payload's `type`, if the payload is a JSON object with one.
    Application(Option<Box<str>>),
    /// The node: events may be missing here. No filter applies to it.
    Reset(ResetReason),
}

impl Frame {
    /// Encodes a publisher's event.
    ///
    /// The payload is not changed, but its line ends (LF, CR, CRLF) split it into `data:` fields.
    /// The client's parser joins them with LF.
    #[must_use]
    pub fn application(position: Position, payload: &str) -> Self {
        let mut buffer = BytesMut::with_capacity(payload.len() + 64);
        put_id(&mut buffer, &position);
        put_data(&mut buffer, payload);
        buffer.put_u8(b'\n');
        let origin = Origin::Application(event_type(payload));
        Self { position, origin, to: None, plain: buffer.freeze(), named: OnceLock::new() }
    }

    /// Encodes the node's event that events may be missing between `from` and this position.
    #[must_use]
    pub fn reset(reason: ResetReason, from: Option<&str>, position: Position) -> Self {
        let plain = control::reset(reason, from, &position);
        Self { position, origin: Origin::Reset(reason), to: None, plain, named: OnceLock::new() }
    }

    /// Returns the reason for which events may be missing, if this is a reset.
    #[must_use]
    pub fn reset_reason(&self) -> Option<ResetReason> {
        match self.origin {
            Origin::Reset(reason) => Some(reason),
            Origin::Application(_) => None,
        }
    }

    /// Returns the same event at another position. Only the `id:` field differs.
    #[must_use]
    pub fn with_position(&self, position: Position) -> Self {
        let (before, after) = around_id(&self.plain);
        let mut buffer = BytesMut::with_capacity(self.plain.len() + 32);
        buffer.put_slice(before);
        put_id(&mut buffer, &position);
        buffer.put_slice(after);
        let origin = match &self.origin {
            Origin::Application(event_type) => Origin::Application(event_type.clone()),
            Origin::Reset(reason) => Origin::Reset(*reason),
        };
        Self { position, origin, to: self.to.clone(), plain: buffer.freeze(), named: OnceLock::new() }
    }

    /// Returns the frame with this audience; `None` is for all users.
    #[must_use]
    pub fn with_audience(mut self, audience: Option<Arc<Audience>>) -> Self {
        self.to = audience;
        self
    }

    /// Returns the audience; `None` for an event for all users.
    #[must_use]
    pub fn audience(&self) -> Option<&Audience> {
        self.to.as_deref()
    }

    /// Returns the position of a client that has received this event.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Returns whether a publisher published this event.
    #[must_use]
    pub fn is_application(&self) -> bool {
        matches!(self.origin, Origin::Application(_))
    }

    /// Returns the payload's `type`, if a publisher's event has one.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        match &self.origin {
            Origin::Application(event_type) => event_type.as_deref(),
            Origin::Reset(_) => None,
        }
    }

    /// Returns the bytes without an `event:` field from the payload.
    #[must_use]
    pub fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// Returns the bytes with `event:` from the payload's `type`. The first call encodes them.
    ///
    /// Returns [`plain`](Self::plain) if there is no type or if the type cannot be an event's name.
    #[must_use]
    pub fn named(&self) -> &Bytes {
        match self.event_type() {
            Some(name) if is_event_name(name) => self.named.get_or_init(|| {
                let mut buffer = BytesMut::with_capacity(self.plain.len() + name.len() + 8);
                buffer.put_slice(b"event: ");
                buffer.put_slice(name.as_bytes());
                buffer.put_u8(b'\n');
                buffer.put_slice(&self.plain);
                buffer.freeze()
            }),
            _ => &self.plain,
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("position", &self.position)
            .field("origin", &self.origin)
            .field("bytes", &self.plain.len())
            .finish_non_exhaustive()
    }
}

/// Returns whether a text can name a publisher's event: it fits into a field, and neither a node
/// nor a browser uses it.
fn is_event_name(text: &str) -> bool {
    !text.is_empty()
        && !text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        && !text.starts_with(RESERVED_PREFIX)
        && !BROWSER_EVENTS.contains(&text)
}

/// Splits a frame into the bytes before and after its `id:` field, which precedes any `data:`.
fn around_id(frame: &[u8]) -> (&[u8], &[u8]) {
    let mut start = 0;
    for line in frame.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b"id: ") {
            return (&frame[..start], &frame[start + line.len()..]);
        }
        start += line.len();
    }
    (&[], frame)
}

pub(super) fn put_id(buffer: &mut BytesMut, position: &Position) {
    put_field(buffer, "id", format_args!("{position}"));
}

/// Writes a field. The value must not contain a line end.
pub(super) fn put_field(buffer: &mut BytesMut, name: &str, value: fmt::Arguments<'_>) {
    use fmt::Write as _;
    // Writing to a growing buffer never fails.
    let _ = writeln!(buffer, "{name}: {value}");
}

/// Writes a text as `data:` fields, one for each line. The space after the colon preserves a line's
/// own leading space.
pub(super) fn put_data(buffer: &mut BytesMut, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        buffer.put_slice(b"data: ");
        buffer.put_slice(&rest[..end.unwrap_or(rest.len())]);
        buffer.put_u8(b'\n');
        let Some(end) = end else { return };
        let line_end = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + line_end..];
    }
}

/// Returns the string member `type` of a JSON object, if it has at most [`EVENT_TYPE_BYTES_MAX`]
/// bytes. Any other payload has none.
fn event_type(payload: &str) -> Option<Box<str>> {
    let mut json = serde_json::Deserializer::from_str(payload);
    let found = json.deserialize_map(TypeVisitor).ok()?;
    json.end().ok()?;
    found.filter(|text| text.len() <= EVENT_TYPE_BYTES_MAX)
}

/// Finds the first `type` of an object and skips all other members without storing them.
struct TypeVisitor;

impl<'de> Visitor<'de> for TypeVisitor {
    type Value = Option<Box<str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(IsType(is_type)) = map.next_key()? {
            if is_type && found.is_none() {
                match map.next_value::<serde_json::Value>()? {
                    serde_json::Value::String(text) => found = Some(text.into_boxed_str()),
                    _ => return Ok(None),
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Reports whether a key is `type`. The key is not stored, so that long objects cost no memory.
struct IsType(bool);

impl<'de> Deserialize<'de> for IsType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = IsType;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(IsType(key == "type"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EntryId;
    use crate::control::ResetReason;
    use futures_util::StreamExt as _;
    use proptest::prelude::*;
    use sse_stream::{Sse, SseStream};

    fn position() -> Position {
        Position::logged(EntryId { milliseconds: 5, sequence: 1 })
    }

    fn plain(payload: &str) -> String {
        String::from_utf8(Frame::application(position(), payload).plain().to_vec()).unwrap()
    }

    /// Parses frames with a parser that shares no code with the encoder.
    fn parsed(bytes: &Bytes) -> Vec<Sse> {
        let body = http_body_util::Full::new(bytes.clone());
        futures_util::FutureExt::now_or_never(SseStream::new(body).map(Result::unwrap).collect()).unwrap()
    }

    /// Returns the payload as a page receives it: every line end is LF.
    fn as_received(payload: &str) -> String {
        payload.replace("\r\n", "\n").replace('\r', "\n")
    }

    #[test]
    fn one_line_is_one_data_field() {
        assert_eq!(plain("{\"a\":1}"), "id: 5-1\ndata: {\"a\":1}\n\n");
        assert_eq!(plain(""), "id: 5-1\ndata: \n\n");
    }

    #[test]
    fn lines_end_at_lf_cr_and_crlf() {
        assert_eq!(plain("a\nb"), "id: 5-1\ndata: a\ndata: b\n\n");
        assert_eq!(plain("a\rb\r\nc"), "id: 5-1\ndata: a\ndata: b\ndata: c\n\n");
        assert_eq!(plain("\n\r\r\n"), "id: 5-1\ndata: \ndata: \ndata: \ndata: \n\n");
        assert_eq!(plain(" a\n b"), "id: 5-1\ndata:  a\ndata:  b\n\n");
    }

    #[test]
    fn only_an_object_has_a_type() {
        for (payload, expected) in [
            (r#"{"type":"A"}"#, Some("A")),
            (r#" {"x":[{"type":"B"}],"type":"A","y":null} "#, Some("A")),
            (r#"{"type":"\u0041"}"#, Some("A")),
            (r#"{"t\u0079pe":"A"}"#, Some("A")),
            (r#"{"type":"A","type":"B"}"#, Some("A")),
            (r#"{"type":1,"type":"B"}"#, None),
            (r#"{"type":{"type":"A"}}"#, None),
            (r#"["A"]"#, None),
            (r#"["type","A"]"#, None),
            (r#"{"type":"A"} x"#, None),
            (r#"{"type":"A""#, None),
            ("\"type\"", None),
            ("plain text", None),
            ("", None),
        ] {
            let frame = Frame::application(position(), payload);
            assert_eq!(frame.event_type(), expected, "{payload}");
        }
        let long = format!("{{\"type\":\"{}\"}}", "x".repeat(EVENT_TYPE_BYTES_MAX + 1));
        assert_eq!(Frame::application(position(), &long).event_type(), None);
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let payload = format!("{{\"x\":{}{},\"type\":\"A\"}}", "[".repeat(100_000), "]".repeat(100_000));
        let frame = Frame::application(position(), &payload);
        assert!(matches!(frame.event_type(), None | Some("A")));
    }

    #[test]
    fn moved_frame_differs_in_its_id_alone() {
        let to: Position = "7-0~k3v9x2ab.3".parse().unwrap();
        let moved = Frame::application(position(), "{\"type\":\"A\"}\nid: x").with_position(to);
        assert_eq!(&moved.plain()[..], b"id: 7-0~k3v9x2ab.3\ndata: {\"type\":\"A\"}\ndata: id: x\n\n");
        assert_eq!((moved.event_type(), *moved.position()), (None, to));
        let reset = Frame::reset(ResetReason::BadEntry, None, position()).with_position(to);
        let text = std::str::from_utf8(reset.plain()).unwrap();
        assert!(text.starts_with("event: tidings.reset\nid: 7-0~k3v9x2ab.3\ndata: {"), "{text}");
    }

    #[test]
    fn named_frame_has_the_event_field() {
        let frame = Frame::application(position(), r#"{"type":"A b"}"#);
        assert_eq!(frame.named(), &Bytes::from_static(b"event: A b\nid: 5-1\ndata: {\"type\":\"A b\"}\n\n"));
    }

    #[test]
    fn unusable_or_reserved_type_is_left_out() {
        for payload in [
            r#"{"type":"a\nid: 9-9"}"#,
            r#"{"type":"a\rb"}"#,
            r#"{"type":"a\u0000"}"#,
            r#"{"type":""}"#,
            r#"{"type":"tidings.reset"}"#,
            r#"{"type":"error"}"#,
            r#"{"type":"open"}"#,
            r#"{"type":"message"}"#,
        ] {
            let frame = Frame::application(position(), payload);
            assert_eq!(frame.named(), frame.plain(), "{payload}");
        }
    }

    /// The form with `event:` is made once and shared.
    #[test]
    fn named_form_is_encoded_once() {
        let frame = Frame::application(position(), r#"{"type":"A"}"#);
        assert_eq!(frame.named().as_ptr(), frame.named().as_ptr());
    }

    proptest! {
        /// A parser gets each payload back; no payload can add a field of its own.
        #[test]
        fn parser_returns_the_payload(payload in "([a-z{}\": \u{feff}ü]|\r|\n|\0){0,40}") {
            let frame = Frame::application(position(), &payload);
            let events = parsed(frame.plain());
            prop_assert_eq!(events.len(), 1);
            prop_assert_eq!(events[0].data.clone(), Some(as_received(&payload)));
            prop_assert_eq!(events[0].id.as_deref(), Some("5-1"));
            prop_assert_eq!(events[0].event.as_deref(), None);
        }

        /// A frame with `event:` is one event of that name, whatever its type contains.
        #[test]
        fn named_frame_is_one_event_of_that_name(name in "(error|open|message|tidings\\.)?.{0,9}|(.|\r|\n|\0){0,300}", rest in any::<String>()) {
            let payload = serde_json::json!({ "type": name, "rest": rest }).to_string();
            let frame = Frame::application(position(), &payload);
            let events = parsed(frame.named());
            prop_assert_eq!(events.len(), 1);
            prop_assert_eq!(events[0].data.as_deref(), Some(payload.as_str()));
            let fits = !name.is_empty() && name.len() <= EVENT_TYPE_BYTES_MAX && !name.contains(['\r', '\n', '\0']);
            let is_taken = name.starts_with("tidings.") || ["error", "message", "open"].contains(&&*name);
            let expected = (fits && !is_taken).then_some(name.as_str());
            prop_assert_eq!(events[0].event.as_deref(), expected);
        }

        /// Frames that follow each other are parsed as separate events.
        #[test]
        fn frames_follow_each_other_without_mixing(payloads in proptest::collection::vec(any::<String>(), 0..8)) {
            let mut stream = BytesMut::new();
            for payload in &payloads {
                stream.put_slice(Frame::application(position(), payload).plain());
            }
            let received: Vec<_> = parsed(&stream.freeze()).into_iter().map(|event| event.data.unwrap()).collect();
            let expected: Vec<_> = payloads.iter().map(|payload| as_received(payload)).collect();
            prop_assert_eq!(received, expected);
        }
    }
}
