use super::*;

fn event(id: &str, kind: &str, data: &str) -> Event {
    Event { id: id.to_owned(), kind: kind.to_owned(), data: data.to_owned(), comments: Vec::new() }
}

#[test]
fn reads_the_examples_of_the_standard() {
    let mut parser = Parser::default();
    assert_eq!(parser.feed(b"data: YHOO\ndata: +2\ndata: 10\n\n"), [event("", "message", "YHOO\n+2\n10")]);

    let mut parser = Parser::default();
    let events = parser.feed(
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\ndata: x",
    );
    let expected = [
        event("1", "message", "first event"),
        event("", "message", "second event"),
        event("", "message", " third event"),
    ];
    assert_eq!(events, expected);
    assert!(parser.is_within_event());

    let mut parser = Parser::default();
    let events = parser.feed(b"data\n\ndata\ndata\n\ndata:");
    assert_eq!(events, [event("", "message", ""), event("", "message", "\n")]);

    let mut parser = Parser::default();
    let events = parser.feed(b"data:test\n\ndata: test\n\n");
    assert_eq!(events, [event("", "message", "test"), event("", "message", "test")]);
}

#[test]
fn any_line_end_and_split_give_the_same() {
    let expected = [event("7", "named", "a\nb"), event("8", "message", "c")];
    for end in ["\n", "\r", "\r\n"] {
        let text =
            ["\u{feff}id: 7", "event: named", "data: a", "data: b", "", "id:8", "data:c", "", ""].join(end);
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let events: Vec<_> = text.as_bytes().chunks(size).flat_map(|bytes| parser.feed(bytes)).collect();
            assert_eq!(events, expected, "{end:?} in pieces of {size}");
            assert!(!parser.is_within_event());
        }
    }
}

#[test]
fn ids_and_retries_follow_the_rules() {
    let mut parser = Parser::default();
    assert_eq!(parser.feed(b"id: 5\nevent: ping\n\n"), []);
    assert_eq!(parser.last_event_id(), "5");
    parser.feed(b"id: 6\0\n\nretry: 1500\nretry: 2s\nretry: -1\n\n");
    assert_eq!(parser.last_event_id(), "5");
    assert_eq!(parser.retries(), [1500]);
}

#[test]
fn a_block_without_data_is_a_fault() {
    for whole in ["retry: 5\nid: 1\ndata\n\n", "data: a\n\ndata: b\n\n", "retry: 5\n", ": note\ndata: a\n\n"]
    {
        let mut parser = Parser::default();
        parser.feed(whole.as_bytes());
        assert_eq!(parser.fault(), None, "{whole:?}");
    }
    for faulty in
        ["retry: 5\n\nid: 1\ndata: a\n\n", "data: a\n\n\n", ": note\n\n", "id: 1\n\n", "event: a\r\r"]
    {
        let mut parser = Parser::default();
        parser.feed(faulty.as_bytes());
        assert!(parser.fault().is_some(), "{faulty:?}");
    }
}

#[test]
fn comment_belongs_to_the_event_of_its_block() {
    let mut parser = Parser::default();
    let events = parser.feed(b"event: a\n: note\n:x\ndata: 1\n\ndata: 2\n\n");
    assert_eq!(events[0].comments, ["note", "x"]);
    assert_eq!(events[1], event("", "message", "2"));
}

#[test]
fn a_retry_alone_is_not_a_whole_event() {
    let mut parser = Parser::default();
    parser.feed(b"data: a\n\nretry: 5\n");
    assert!(parser.is_within_event());
    parser.feed(b"data: b\n\n");
    assert!(!parser.is_within_event());
}
