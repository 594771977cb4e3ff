use super::*;
use crate::EntryId;
use crate::TraceParent;
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

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn traced(payload: &str) -> Frame {
    let trace: TraceParent = TRACE.parse().unwrap();
    Frame::traced(position(), payload, Some(trace))
}

#[test]
fn trace_is_a_comment_before_the_id() {
    let frame = traced("{\"type\":\"A\"}\n: traceparent=x");
    let comment = format!(": traceparent={TRACE}\n");
    assert_eq!(comment.len(), TRACE_COMMENT_BYTES);
    let rest = "data: {\"type\":\"A\"}\ndata: : traceparent=x\n\n";
    assert_eq!(frame.plain(), format!("{comment}id: 5-1\n{rest}").as_bytes());
    assert_eq!(frame.payload().unwrap(), "{\"type\":\"A\"}\n: traceparent=x");
    let to: Position = "7-0~k3v9x2ab.3".parse().unwrap();
    assert_eq!(frame.with_position(to).plain(), format!("{comment}id: 7-0~k3v9x2ab.3\n{rest}").as_bytes());
    let named = traced(r#"{"type":"A"}"#);
    assert_eq!(named.named(), format!("event: A\n{comment}id: 5-1\ndata: {{\"type\":\"A\"}}\n\n").as_bytes());
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

#[test]
fn frame_of_an_event_has_its_position() {
    let event = Frame::application(position(), "data: 1\nid: 9-9");
    assert_eq!(position_of(event.plain()), Some(position()));
    let named = Frame::application(position(), r#"{"type":"A"}"#);
    assert!(named.named().starts_with(b"event: A\n"));
    assert_eq!(position_of(named.named()), Some(position()));
    let reset = Frame::reset(ResetReason::Trimmed, None, position());
    assert_eq!(position_of(reset.plain()), None, "it is an event of the node");
    assert_eq!(position_of(b"data: x\nid: 1-0\n\n"), None);
}

proptest! {
    /// A parser gets each payload back; no payload can add a field of its own.
    #[test]
    fn parser_returns_the_payload(payload in "([a-z{}\": \u{feff}ü]|\r|\n|\0){0,40}") {
        for frame in [Frame::application(position(), &payload), traced(&payload)] {
            let events = parsed(frame.plain());
            prop_assert_eq!(events.len(), 1);
            prop_assert_eq!(events[0].data.clone(), Some(as_received(&payload)));
            prop_assert_eq!(events[0].id.as_deref(), Some("5-1"));
            prop_assert_eq!(events[0].event.as_deref(), None);
        }
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
