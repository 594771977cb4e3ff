use proptest::prelude::*;

use super::*;

/// What a stream in these parts brings: events with the id after each, and the words on
/// retrying.
fn read(parts: &[&[u8]]) -> Vec<String> {
    let mut parser = Parser::default();
    let mut seen = Vec::new();
    for part in parts {
        parser.feed(part, |event| {
            seen.push(match event {
                SseEvent::Message { name, data } => format!("{name}|{}", String::from_utf8_lossy(data)),
                SseEvent::Retry(retry) => format!("retry {retry}"),
            });
        });
    }
    seen.push(parser.last_event_id().to_owned());
    seen
}

#[test]
fn events_as_the_standard_has_them() {
    for (stream, expected) in [
        ("data: a\n\n", &["|a", ""][..]),
        ("data:a\r\ndata: b\rdata\r\r", &["|a\nb\n", ""]),
        ("retry: 1813\n\nid: 7-0\ndata: x\n\n", &["retry 1813", "|x", "7-0"]),
        ("event: n\nid: 1\ndata:  y\n\n: comment\ndata: z\n\n", &["n| y", "|z", "1"]),
        ("id: 5\n\nevent: e\n\n", &["5"]),
        ("\u{feff}data: a\n\ndata: unfinished\n", &["|a", ""]),
        ("retry: 1x\nretry:\nother: 1\n\n", &[""]),
        ("id: 1\ndata: a\n\nid\ndata: b\n\n", &["|a", "|b", ""]),
    ] {
        assert_eq!(read(&[stream.as_bytes()]), expected, "{stream:?}");
    }
}

#[test]
fn an_idle_client_keeps_its_id_and_nothing_else() {
    let mut parser = Parser::after("1-0".to_owned());
    parser.feed(b"id: 2-0\ndata: 0123456789\n\n", |_| {});
    assert_eq!(parser.last_event_id(), "2-0");
    assert_eq!(parser.line.capacity() + parser.event.data.capacity() + parser.event.name.capacity(), 0);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_response(
        lines in prop::collection::vec("(data|id|event|retry|x)?:? ?[a-c0-9]{0,3}(\n|\r|\r\n|\n\n|\r\n\r\n)", 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let stream = lines.concat().into_bytes();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        places.extend([0, stream.len()]);
        places.sort_unstable();
        let parts: Vec<&[u8]> = places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read(&parts), read(&[&stream]));
    }
}
