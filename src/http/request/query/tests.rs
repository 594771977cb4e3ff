use super::*;
use proptest::prelude::*;
use tidings_hub::Resume;

fn parse(query: &str) -> Result<StreamQuery, Problem> {
    StreamQuery::parse(query, false, 100)
}

#[test]
fn known_parameters_are_read_and_others_ignored() {
    let parsed = parse("_=1&types=A%2CB&named=1&last_event_id=5-1&errors=http&x").unwrap();
    assert_eq!(
        parsed.filter,
        SubscriptionFilter { types: Some(TypeFilter::parse("A,B").unwrap()), named: true, user: None }
    );
    assert_eq!(parsed.start, Some(Start::After(Resume::new("5-1"))));
    assert!(parsed.errors_by_status);
    assert_eq!(parse("").unwrap(), StreamQuery::default());
    assert!(StreamQuery::parse("", true, 100).unwrap().filter.named);
    assert!(!StreamQuery::parse("named=0", true, 100).unwrap().filter.named);
    assert_eq!(parse("last_event_id=").unwrap().start, None);
}

#[test]
fn a_time_is_read_in_both_forms() {
    for query in [
        "since=1795341600000",
        "since=2026-11-22T10:00:00Z",
        "since=2026-11-22T12:00:00%2B02:00",
        "since=2026-11-22T12:00:00+02:00",
    ] {
        assert_eq!(
            parse(query).unwrap().start,
            Some(Start::Since { milliseconds: 1_795_341_600_000 }),
            "{query}"
        );
    }
    assert_eq!(parse("last=100").unwrap().start, Some(Start::Newest { count: 100 }));
}

/// Every time of RFC 3339 is a time, also one that no event can have.
#[test]
fn since_accepts_times_outside_of_logs() {
    let since = |query: &str| match parse(query).map(|parsed| parsed.start) {
        Ok(Some(Start::Since { milliseconds })) => milliseconds,
        other => panic!("{query}: {other:?}"),
    };
    for query in [
        "since=0001-01-01T00:00:00Z",
        "since=1960-01-01T00:00:00Z",
        "since=1970-01-01T00:00:00%2B01:00",
        "since=1970-01-01T00:00:00Z",
    ] {
        assert_eq!(since(query), 0, "{query}");
    }
    let last_year = since("since=9999-01-01T00:00:00Z");
    for query in ["since=9999-12-31T23:59:59Z", "since=9999-12-31T23:59:60-23:59"] {
        assert!(since(query) > last_year, "{query}");
    }
}

#[test]
fn a_position_wins_over_since_and_last() {
    for query in [
        "since=5&last_event_id=7-0",
        "lastEventId=7-0&last=5",
        "last_event_id=5-0&since=5&Last%2DEvent-ID=7%2d0",
    ] {
        assert_eq!(parse(query).unwrap().start, Some(Start::After(Resume::new("7-0"))), "{query}");
    }
    assert_eq!(parse("lastEventId=&last=5").unwrap().start, Some(Start::Newest { count: 5 }));
}

#[test]
fn wrong_parameter_is_rejected() {
    for query in [
        "types=",
        "types=A&types=B",
        "named=yes",
        "errors=1",
        "since=",
        "since=yesterday",
        "since=-5",
        "since=99999999999999999999",
        "since=2026-11-22",
        "since=2026-11-22T10:00:00",
        "since=2026-11-22T25:00:00Z",
        "last=0",
        "last=101",
        "last=x",
        "last=1&since=5",
        "last=1&last=1",
        "last=1&since=5&lastEventId=7-0",
    ] {
        assert!(parse(query).is_err(), "{query}");
    }
}

proptest! {
    #[test]
    fn any_query_is_accepted_or_rejected(query in any::<String>()) {
        let _ = parse(&query);
    }
}
