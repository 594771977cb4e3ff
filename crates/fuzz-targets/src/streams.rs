//! What clients of streams write, and what is written to them.

use tidings::http::StreamQuery;
use tidings_event::frame::{BROWSER_EVENTS, EVENT_TYPE_BYTES_MAX, RESERVED_PREFIX};
use tidings_event::position::POSITION_BYTES_MAX;
use tidings_event::workspace::is_unreserved;
use tidings_event::{EntryId, Frame, LivePart, NodeId, Position, TraceParent};
use tidings_hub::{Resume, Start};

const NEWEST_MAX: usize = 1000;

/// `Last-Event-ID`: a text that is taken for a position is the one text of that position, and
/// fit for an `id:` field.
pub fn last_event_id(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string(), text, "a position has one text");
        assert!(text.len() <= POSITION_BYTES_MAX && text.bytes().all(is_unreserved), "{text:?}");
    }
    // Any text is a position to resume from, within bounds.
    let kept = Resume::new(&text);
    assert_eq!(kept, Resume::new(&text));
}

/// The query: what is taken is within its bounds, and parameters of others change nothing.
pub fn query(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let parse = |text: &str| StreamQuery::parse(text, false, NEWEST_MAX);
    let Ok(parsed) = parse(&text) else { return };
    if let Some(Start::Newest { count }) = &parsed.start {
        assert!((1..=NEWEST_MAX).contains(count), "{count}");
    }
    for strange in [format!("{text}&_=1"), format!("_=1&{text}")] {
        match parse(&strange) {
            Ok(again) => assert_eq!(again, parsed, "{strange:?}"),
            Err(_) => panic!("{strange:?} is refused, and {text:?} is not"),
        }
    }
}

/// The encoder: a reader of the stream finds the event that went in, under the id that it was
/// given, and nothing else. Two frames behind one another are two events.
pub fn frame(data: &[u8]) {
    let payload = String::from_utf8_lossy(data);
    let first = Position::logged(EntryId { milliseconds: 5, sequence: 1 });
    let second = Position { live: Some(LivePart { node: NodeId::random(), number: 7 }), ..first };
    let trace = TraceParent::begin(true);
    let frames = [(first, Some(trace)), (second, None)]
        .map(|(position, trace)| Frame::traced(position, &payload, trace));
    let received = payload.replace("\r\n", "\n").replace('\r', "\n");
    for named in [false, true] {
        let form = |frame: &Frame| if named { frame.named().to_vec() } else { frame.plain().to_vec() };
        let events = read(&frames.iter().flat_map(form).collect::<Vec<u8>>());
        assert_eq!(events.len(), 2);
        for (event, frame) in events.iter().zip(&frames) {
            assert_eq!(event.data, received);
            assert_eq!(event.id, frame.position().to_string());
            let is_traced = frame.position() == &first;
            assert_eq!(event.trace, is_traced.then(|| trace.to_string()));
            let name = frame.event_type().filter(|name| {
                named
                    && !name.is_empty()
                    && !name.contains(['\r', '\n', '\0'])
                    && !name.starts_with(RESERVED_PREFIX)
                    && !BROWSER_EVENTS.contains(name)
            });
            assert_eq!(event.name.as_deref(), name);
            assert!(name.is_none_or(|name| name.len() <= EVENT_TYPE_BYTES_MAX));
        }
    }
}

/// An event as it was read. All of it was written: there are no defaults.
#[derive(Default)]
struct ParsedEvent {
    id: String,
    name: Option<String>,
    trace: Option<String>,
    data: String,
}

/// Reads a stream as the standard says (WHATWG HTML, section 9.2.6). Panics at a part that no frame
/// of the broker has. Such parts are unknown fields, other comments, a field twice, a carriage
/// return, a NUL in a name or an id, and an unfinished event.
fn read(bytes: &[u8]) -> Vec<ParsedEvent> {
    let Ok(text) = std::str::from_utf8(bytes) else { panic!("a stream in UTF-8") };
    assert!(text.ends_with("\n\n") && !text.contains('\r'), "{text:?}");
    let blocks = text.trim_end_matches("\n\n").split("\n\n");
    blocks
        .map(|block| {
            let mut event = ParsedEvent::default();
            let (mut ids, mut lines) = (0, Vec::new());
            for line in block.split('\n') {
                match line.split_once(": ") {
                    Some(("id", id)) => {
                        ids += 1;
                        id.clone_into(&mut event.id);
                    }
                    Some(("event", name)) => {
                        assert!(event.name.replace(name.to_owned()).is_none(), "{block:?}");
                        assert!(!name.contains('\0'), "{block:?}");
                    }
                    // A comment; its space belongs to the separator.
                    Some(("", comment)) => {
                        let Some(trace) = comment.strip_prefix("traceparent=") else { panic!("{block:?}") };
                        assert!(event.trace.replace(trace.to_owned()).is_none(), "{block:?}");
                    }
                    Some(("data", line)) => lines.push(line),
                    _ => panic!("no field of a frame: {line:?}"),
                }
            }
            assert!(ids == 1 && !lines.is_empty() && event.id.bytes().all(is_unreserved), "{block:?}");
            event.data = lines.join("\n");
            event
        })
        .collect()
}
