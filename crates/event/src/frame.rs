//! The bytes of one event on the wire (WHATWG HTML, section 9.2 "Server-sent events"). A node
//! encodes them once for all subscribers.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::audience::Audience;
use super::control::{self, ResetReason};
use super::event_watch::EventWatch;
use super::position::Position;
use super::trace_parent::TraceParent;

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

/// The bytes of the comment with a trace: `: traceparent=`, the trace and a line end.
const TRACE_COMMENT_BYTES: usize = 70;

/// Holds one event of a workspace as bytes on the wire.
pub struct Frame {
    position: Position,
    origin: Origin,
    to: Option<Arc<Audience>>,
    plain: Bytes,
    named: OnceLock<Bytes>,
    /// `None` for an event that is not sampled.
    watch: Option<Arc<EventWatch>>,
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
        Self::traced(position, payload, None)
    }

    /// Encodes a publisher's event, with its trace as a comment before `id:`. Parsers of the
    /// standard ignore comments.
    #[must_use]
    pub fn traced(position: Position, payload: &str, trace: Option<TraceParent>) -> Self {
        let comment_bytes = trace.map_or(0, |_| TRACE_COMMENT_BYTES);
        let mut buffer = BytesMut::with_capacity(comment_bytes + payload.len() + 64);
        if let Some(trace) = trace {
            put_field(&mut buffer, "", format_args!("traceparent={trace}"));
        }
        put_id(&mut buffer, &position);
        put_data(&mut buffer, payload);
        buffer.put_u8(b'\n');
        let origin = Origin::Application(event_type(payload));
        Self { position, origin, to: None, plain: buffer.freeze(), named: OnceLock::new(), watch: None }
    }

    /// Encodes the node's event that events may be missing between `from` and this position.
    #[must_use]
    pub fn reset(reason: ResetReason, from: Option<&str>, position: Position) -> Self {
        let plain = control::reset(reason, from, &position);
        Self { position, origin: Origin::Reset(reason), to: None, plain, named: OnceLock::new(), watch: None }
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
        Self {
            position,
            origin,
            to: self.to.clone(),
            plain: buffer.freeze(),
            named: OnceLock::new(),
            watch: None,
        }
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

    /// Returns the frame with a watch of its deliveries.
    #[must_use]
    pub fn with_watch(mut self, watch: Option<Arc<EventWatch>>) -> Self {
        self.watch = watch;
        self
    }

    /// Returns the watch of a sampled event; `None` for all others.
    #[must_use]
    pub fn watch(&self) -> Option<&Arc<EventWatch>> {
        self.watch.as_ref()
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

    /// Returns the payload of a publisher's event, with each line end as LF; `None` for a reset.
    #[must_use]
    pub fn payload(&self) -> Option<String> {
        if !self.is_application() {
            return None;
        }
        let text = std::str::from_utf8(&self.plain).ok()?;
        let lines: Vec<&str> = text.split('\n').filter_map(|line| line.strip_prefix("data: ")).collect();
        Some(lines.join("\n"))
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

/// Returns the position of a publisher's event from the bytes of its frame. `None` for an event of
/// the node.
#[must_use]
pub fn position_of(frame: &[u8]) -> Option<Position> {
    let mut lines = frame.split(|&byte| byte == b'\n');
    // The fields precede the data, whose lines may look like fields.
    let mut fields = lines.by_ref().take_while(|line| !line.starts_with(b"data"));
    let mut position = None;
    for line in fields.by_ref() {
        if let Some(name) = line.strip_prefix(b"event: ")
            && name.starts_with(RESERVED_PREFIX.as_bytes())
        {
            return None;
        }
        position = position.or_else(|| line.strip_prefix(b"id: "));
    }
    std::str::from_utf8(position?).ok()?.parse().ok()
}

pub(super) fn put_id(buffer: &mut BytesMut, position: &Position) {
    put_field(buffer, "id", format_args!("{position}"));
}

/// Writes a field, or a comment if the name is empty. The value must not contain a line end.
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
/// bytes. Any other payload has none. The first of several such members counts.
#[must_use]
pub fn event_type(payload: &str) -> Option<Box<str>> {
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
mod tests;
