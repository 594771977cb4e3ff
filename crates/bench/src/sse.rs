//! Reads an event stream as it arrives (HTML standard, section 9.2). Between two events it keeps
//! the last event id of a client and nothing else.

/// The longest line and the most data of an event that it keeps, in bytes. The rest is dropped,
/// which makes the event differ.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An event, as an EventSource would dispatch it, or a word to the EventSource itself.
#[derive(Debug, PartialEq, Eq)]
pub enum SseEvent<'a> {
    /// An event with data.
    Message {
        /// Its name; empty where it has none.
        name: &'a str,
        /// Its data lines, joined by line feeds.
        data: &'a [u8],
    },
    /// How long to wait before reconnecting, in milliseconds.
    Retry(u64),
}

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Parser {
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// The last line ended in CR: an LF right behind it belongs to it.
    after_cr: bool,
    begun: bool,
    event: PendingEvent,
    last_event_id: String,
}

/// The event that is being read.
#[derive(Debug, Default)]
struct PendingEvent {
    name: String,
    data: Vec<u8>,
    has_data: bool,
    id: Option<String>,
}

impl Parser {
    /// A stream that begins after this event, with whose id an EventSource would reconnect.
    #[must_use]
    pub fn after(last_event_id: String) -> Self {
        Self { last_event_id, ..Self::default() }
    }

    /// The id of the last event that came whole.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Takes bytes, and hands on each event that they complete.
    pub fn feed(&mut self, mut bytes: &[u8], mut dispatch: impl FnMut(SseEvent<'_>)) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                let room = KEPT_BYTES_MAX.saturating_sub(self.line.len()).min(bytes.len());
                self.line.extend_from_slice(&bytes[..room]);
                return;
            };
            self.after_cr = bytes[end] == b'\r';
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.line.is_empty() {
                self.take_line(line, &mut dispatch);
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take_line(&whole, &mut dispatch);
            }
            bytes = rest;
        }
    }

    fn take_line(&mut self, line: &[u8], dispatch: &mut impl FnMut(SseEvent<'_>)) {
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            // A byte order mark may precede the first line.
            Some(rest) if !self.begun => rest,
            _ => line,
        };
        self.begun = true;
        if line.is_empty() {
            return self.end_event(dispatch);
        }
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match field {
            b"data" => {
                if self.event.has_data {
                    self.event.data.push(b'\n');
                }
                self.event.has_data = true;
                let room = KEPT_BYTES_MAX.saturating_sub(self.event.data.len()).min(value.len());
                self.event.data.extend_from_slice(&value[..room]);
            }
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => {
                self.event.id = Some(String::from_utf8_lossy(value).into_owned());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                if let Some(retry) = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) {
                    dispatch(SseEvent::Retry(retry));
                }
            }
            _ => {}
        }
    }

    fn end_event(&mut self, dispatch: &mut impl FnMut(SseEvent<'_>)) {
        let event = std::mem::take(&mut self.event);
        if let Some(id) = event.id {
            self.last_event_id = id;
        }
        if event.has_data {
            dispatch(SseEvent::Message { name: &event.name, data: &event.data });
        }
    }
}

#[cfg(test)]
mod tests;
