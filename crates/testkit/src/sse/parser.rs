//! An event stream parser after the HTML standard, section 9.2.6, "Interpreting an event stream".

use serde_json::Value;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// An event as a page gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The last event id at the time of the event: its own, or one that was set before.
    pub id: String,
    /// `message` where the stream names no other.
    pub kind: String,
    pub data: String,
    /// The comments before it in its block.
    pub comments: Vec<String>,
}

impl Event {
    /// The data as JSON. Fails the test when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Whether it is the broker's greeting, which arrives as a plain message.
    pub fn is_connected(&self) -> bool {
        self.kind == "message"
            && serde_json::from_str::<Value>(&self.data).is_ok_and(|data| data["type"] == "connected")
    }

    /// Whether it is the application's, and not one of the broker's own.
    pub fn is_from_application(&self) -> bool {
        !self.kind.starts_with("tidings.") && !self.is_connected()
    }
}

/// Makes events of bytes, at any split.
///
/// A block without data is a fault: the standard ignores it, but other parsers hand it on as an
/// empty message.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    lines_seen: u64,
    after_carriage_return: bool,
    data: String,
    kind: String,
    id: String,
    last_event_id: String,
    retries: Vec<u64>,
    comments: Vec<String>,
    /// The lines since the last blank one, those of data apart.
    block: Vec<String>,
    fault: Option<String>,
}

impl Parser {
    /// Takes the next bytes and returns the events that they complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            let ends_pair = byte == b'\n' && std::mem::take(&mut self.after_carriage_return);
            if ends_pair {
                continue;
            }
            self.after_carriage_return = byte == b'\r';
            if byte == b'\n' || byte == b'\r' {
                events.extend(self.end_line());
            } else {
                self.line.push(byte);
            }
        }
        events
    }

    /// The last event id as it is sent when reconnecting: set at each blank line, also where no
    /// event is dispatched.
    pub(super) fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnection times that the stream set so far, in milliseconds.
    pub(super) fn retries(&self) -> &[u64] {
        &self.retries
    }

    /// Whether the bytes so far end within a block, which is lost when nothing follows.
    pub(super) fn is_within_event(&self) -> bool {
        !(self.line.is_empty() && self.block.is_empty() && self.data.is_empty())
    }

    /// The first block without data, if there was one.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if self.lines_seen == 0 => rest,
            _ => &line,
        };
        self.lines_seen += 1;
        let line = String::from_utf8_lossy(line);
        if line.is_empty() {
            return self.dispatch();
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        self.field(name, value.strip_prefix(' ').unwrap_or(value));
        if name != "data" {
            self.block.push(line.into_owned());
        }
        None
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retries.extend(value.parse::<u64>())
            }
            // A comment has an empty name.
            "" => self.comments.push(value.to_owned()),
            // Unknown fields are ignored.
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        self.last_event_id.clone_from(&self.id);
        let kind = std::mem::take(&mut self.kind);
        let block = std::mem::take(&mut self.block);
        let comments = std::mem::take(&mut self.comments);
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_none() {
            self.fault.get_or_insert_with(|| format!("a block without data: {block:?}"));
            return None;
        }
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(Event { id: self.last_event_id.clone(), kind, data, comments })
    }
}

/// Fails the test where a stream that was read by other means has a block without data.
pub fn check_blocks(stream: &str) {
    let mut parser = Parser::default();
    parser.feed(stream.as_bytes());
    assert_eq!(parser.fault(), None);
}

#[cfg(test)]
mod tests;
