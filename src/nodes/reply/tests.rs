use super::*;

fn row(number: usize) -> StreamRow {
    StreamRow {
        connection: format!("abcdefgh.{number}"),
        user: Some("\u{1}".repeat(256)),
        address: "127.0.0.1:1".to_owned(),
        client: "127.0.0.1".to_owned(),
        seconds: 1,
        position: None,
        events_behind: Some(1),
        bytes_behind: None,
        events: 0,
        bytes: 0,
        writer: "engine".to_owned(),
        phase: "following".to_owned(),
        filtered: false,
        types: None,
    }
}

#[test]
fn large_reply_is_cut_with_a_count() {
    let streams = (0..100).map(row).collect();
    let body = ReplyBody::Explain(NodeExplanation { streams, ..NodeExplanation::default() });
    let member = NodeReply { node: "abcdefgh".to_owned(), body }.encode();
    assert!(member.len() <= MEMBER_BYTES_MAX, "{}", member.len());
    let ReplyBody::Explain(node) = NodeReply::parse(&member).unwrap().body else { panic!() };
    assert_eq!((node.streams.len(), node.left_out), (25, 75));
}

#[test]
fn reasons_are_cut_and_bounded() {
    let reasons = bounded(vec!["ü".repeat(1000); 100]);
    assert_eq!((reasons.len(), reasons[0].len()), (REASONS_MAX, REASON_BYTES_MAX));
}

#[test]
fn other_texts_are_no_replies() {
    for text in ["", "{", "[]", r#"{"node":"x","found":[]}"#, r#"{"node":"abcdefgh"}"#, "\u{0}"] {
        assert_eq!(NodeReply::parse(text.as_bytes()), None, "{text:?}");
        assert_eq!(NodeReport::parse(text.as_bytes()), None, "{text:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(NodeReply::parse(deep.as_bytes()), None);
    assert!(NodeReply::parse(br#"{"node":"abcdefgh","found":[]}"#).is_some());
    let report = |node: &str| NodeReport {
        node: node.to_owned(),
        version: String::new(),
        commit: String::new(),
        started_ms: 1,
        ready: true,
        not_ready_because: Vec::new(),
        connections: 0,
        subscribers: 0,
        workspaces: 0,
        url: None,
    };
    assert!(NodeReport::parse(&report("abcdefgh").encode()).is_some());
    assert_eq!(NodeReport::parse(&report("../admin").encode()), None);
}
