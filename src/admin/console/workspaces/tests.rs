//! Tests of the list of workspaces, without a hub.

use super::*;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{EntryId, Position};

fn figures(id: &str, streams: usize, events: u64) -> WorkspaceFigures {
    WorkspaceFigures {
        id: WorkspaceId::parse(id).unwrap(),
        streams,
        events,
        event_bytes: events * 10,
        ring_bytes: 0,
        is_confirmed: true,
        head: Position::logged(EntryId::ZERO),
    }
}

fn ids(rows: &[WorkspaceRow], query: &str) -> (usize, Vec<String>) {
    let (matched, rows) = select(rows, &WorkspaceQuery::parse(query).unwrap());
    (matched, rows.into_iter().map(|row| row.id).collect())
}

#[test]
fn rows_are_searched_and_sorted() {
    let survey = WorkspaceSurvey::default();
    let now = Instant::now();
    survey.rows(now, || vec![figures("a", 1, 0), figures("b", 2, 0), figures("ab", 3, 0)]);
    let later = now + PASS_INTERVAL;
    let rows = survey.rows(later, || vec![figures("a", 1, 20), figures("b", 2, 10), figures("ab", 3, 0)]);
    assert_eq!(ids(&rows, ""), (3, vec!["ab".to_owned(), "b".to_owned(), "a".to_owned()]));
    assert_eq!(ids(&rows, "sort=events&limit=2"), (3, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(ids(&rows, "sort=bytes&search=b"), (2, vec!["b".to_owned(), "ab".to_owned()]));
    let rates: Vec<_> = rows.iter().map(|row| (row.events_per_second, row.bytes_per_second)).collect();
    assert_eq!(rates, [(10.0, 100.0), (5.0, 50.0), (0.0, 0.0)]);
}

#[test]
fn pass_is_shared_and_freed() {
    let survey = WorkspaceSurvey::default();
    let now = Instant::now();
    survey.rows(now, || vec![figures("a", 1, 5)]);
    let rows = survey.rows(now + PASS_INTERVAL / 2, || panic!("too soon"));
    assert_eq!(rows.len(), 1);
    let again = survey.rows(now + PASS_INTERVAL, || vec![figures("a", 1, 2)]);
    assert_eq!(again[0].events_per_second, 0.0, "the node has taken the workspace again");
    survey.forget_idle(now + PASS_INTERVAL + IDLE);
    assert!(survey.0.lock().is_some());
    survey.forget_idle(now + PASS_INTERVAL + IDLE + Duration::from_secs(1));
    assert!(survey.0.lock().is_none());
}

#[test]
fn query_has_bounds() {
    for query in ["limit=0", "limit=1001", "limit=x", "sort=name"] {
        assert!(WorkspaceQuery::parse(query).is_err(), "{query}");
    }
    assert_eq!(WorkspaceQuery::parse("other=1&limit=7").unwrap().limit, 7);
}
