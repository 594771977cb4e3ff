use super::*;
use proptest::prelude::*;

#[test]
fn message_is_empty_live_or_envelope() {
    assert_eq!(parse(&Bytes::new()), Ok(Message::LookAtLog));
    assert_eq!(parse(&Bytes::from_static(b"{}")), Ok(Message::Live(Bytes::from_static(b"{}"))));
    assert_eq!(
        parse(&Bytes::from_static(b"tidings/1 5-1 5-0\na\nb")),
        Ok(Message::Logged {
            id: EntryId { milliseconds: 5, sequence: 1 },
            previous: EntryId { milliseconds: 5, sequence: 0 },
            payload: Bytes::from_static(b"a\nb"),
            to: None,
            trace: None,
        })
    );
}

#[test]
fn audience_may_contain_spaces() {
    let message = Bytes::from_static(b"tidings/1 5-1 0-0 [\"a b\",\"c\"]\n{}");
    let Ok(Message::Logged { payload, to: Some(to), .. }) = parse(&message) else { panic!() };
    assert_eq!((&*payload, to.as_json()), (&b"{}"[..], r#"["a b","c"]"#));
}

#[test]
fn unknown_key_is_ignored() {
    for (head, users) in [
        ("tidings/1 5-1 0-0 epoch=abcdefgh0123", None),
        ("tidings/1 5-1 0-0 a=1 trace-id=00-4bf92f-01 empty=", None),
        (r#"tidings/1 5-1 0-0 ["a] =b","c"] a=[x]"#, Some(r#"["a] =b","c"]"#)),
    ] {
        let message = Bytes::from(format!("{head}\n{{}}"));
        let Ok(Message::Logged { payload, to, previous, .. }) = parse(&message) else { panic!("{head}") };
        assert_eq!((&*payload, previous), (&b"{}"[..], EntryId::ZERO));
        assert_eq!(to.as_deref().map(Audience::as_json), users, "{head}");
    }
}

#[test]
fn invalid_trace_counts_as_none() {
    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let trace = |fields: &str| {
        let message = Bytes::from(format!("tidings/1 5-1 0-0 {fields}\nx"));
        let Ok(Message::Logged { trace, .. }) = parse(&message) else { panic!("{fields}") };
        trace.map(|trace| trace.to_string())
    };
    assert_eq!(trace(&format!("traceparent={VALID}")).as_deref(), Some(VALID));
    assert_eq!(trace(&format!("[\"a\"] a=1 traceparent={VALID} b=2")).as_deref(), Some(VALID));
    assert_eq!(trace("traceparent=00-0-0-01"), None);
    assert_eq!(trace("traceparent="), None);
    assert_eq!(trace(&format!("x-traceparent={VALID}")), None);
}

#[test]
fn fields_are_bounded() {
    let with = |value: usize| parse(&Bytes::from(format!("tidings/1 5-1 0-0 a={}\nx", "1".repeat(value))));
    assert!(with(FIELDS_BYTES_MAX - 3).is_ok());
    assert_eq!(with(FIELDS_BYTES_MAX - 2), Err(EnvelopeError));
}

#[test]
fn message_that_only_begins_like_an_envelope_is_rejected() {
    for message in [
        "tidings/1 ",
        "tidings/1 5-1",
        "tidings/1 5-1 5-0",
        "tidings/1 5-1\n5-0\n",
        "tidings/1 5-0 5-0\nx",
        "tidings/1 5-0 5-1\nx",
        "tidings/1  5-1 5-0\nx",
        "tidings/1 5-1 5-0 \nx",
        "tidings/1 5-1 5-0 []\nx",
        "tidings/1 5-1 5-0 [1]\nx",
        "tidings/1 5-1 5-0 null\nx",
        "tidings/1 5-1 5-0 [\"a\n\"]\nx",
        "tidings/1 5-1 5-0 [\"a\"] \"b\"\nx",
        "tidings/1 5-1 5-0[\"a\"]\nx",
        "tidings/1 a b\nx",
        "tidings/1 5-1 5-0 word\nx",
        "tidings/1 5-1 5-0 =value\nx",
        "tidings/1 5-1 5-0 Key=value\nx",
        "tidings/1 5-1 5-0  key=value\nx",
        "tidings/1 5-1 5-0 key=value \nx",
        "tidings/1 5-1 5-0 key=v\u{e9}\nx",
        "tidings/1 5-1 5-0 key=value [\"a\"]\nx",
        "tidings/1 5-1 5-0 [\"a\"]key=value\nx",
    ] {
        assert_eq!(parse(&Bytes::from_static(message.as_bytes())), Err(EnvelopeError), "{message:?}");
    }
}

proptest! {
    #[test]
    fn encoded_envelope_parses_to_the_same_message(
        milliseconds in 1u64.., sequence: u64, payload: Vec<u8>,
        users in proptest::option::of(proptest::collection::vec("[^\\p{Cc}]{1,9}", 1..5)),
        has_trace: bool,
    ) {
        let id = EntryId { milliseconds, sequence };
        let payload = Bytes::from(payload);
        let trace = has_trace.then(|| TraceParent::begin(true));
        let to = users.map(|users| Arc::new(Audience::new(&users).unwrap()));
        prop_assert_eq!(
            parse(&encode_traced(id, EntryId::ZERO, &payload, to.as_deref(), trace)),
            Ok(Message::Logged { id, previous: EntryId::ZERO, payload, to, trace })
        );
    }

    #[test]
    fn any_bytes_parse_or_are_rejected(tail: Vec<u8>, envelope: bool) {
        let mut message = if envelope { MAGIC.to_vec() } else { Vec::new() };
        message.extend(tail);
        let _ = parse(&Bytes::from(message));
    }
}
