//! Sampled events: the readers that owe them, and the events that get no watch.

use super::*;
use tidings_event::{Audience, Deliveries, Frame, TraceParent, UserId};
use tidings_metrics::SpanResult;

use crate::watch_list::WATCHED_OF_WORKSPACE_MAX;

/// A hub that samples a share of the events without a trace.
fn watched(ratio: f64) -> (Fixture, Arc<WatchList>) {
    let fixture = large_ring();
    let list = Arc::new(WatchList::new(ratio, Arc::clone(&fixture.metrics)));
    let hub = fixture.hub.watched_by(Some(Arc::clone(&list)));
    (Fixture { hub, ..fixture }, list)
}

/// Logs an event with a trace and announces it.
fn log_traced(fixture: &Fixture, id: u64, is_sampled: bool, to: Option<&str>) -> TraceParent {
    let trace = TraceParent::begin(is_sampled);
    let previous = fixture.log.lock().append(entry(id), "x");
    let audience = to.map(|user| Audience::new(&[user]).unwrap());
    let message = envelope::encode_traced(entry(id), previous, b"x", audience.as_ref(), Some(trace));
    fixture.hub.message(&acme(), message);
    trace
}

fn finished(list: &WatchList) -> Vec<Deliveries> {
    list.take_finished(Instant::now(), WATCH_TIME).iter().map(|event| event.watch.deliveries()).collect()
}

/// The numbers of deliveries and of readers that are behind, of the events that are finished.
fn counts(list: &WatchList) -> Vec<(usize, usize)> {
    finished(list).iter().map(|deliveries| (deliveries.streams, deliveries.behind)).collect()
}

#[test]
fn sampled_event_ends_when_each_reader_has_it_or_leaves() {
    let (fixture, list) = watched(0.0);
    let mut readers = [joined(&fixture), joined(&fixture), joined(&fixture)];
    let trace = log_traced(&fixture, 5, true, None);
    assert_eq!(counts(&list), []);
    assert_eq!(read_short(&mut readers[0]), ["x"]);
    assert_eq!(read_short(&mut readers[1]), ["x"]);
    assert_eq!(counts(&list), []);
    drop(readers);
    let events = list.take_finished(Instant::now(), WATCH_TIME);
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.watch.context().trace, event.watch.parent()), (trace.trace, Some(trace.span)));
    assert_eq!(
        (event.workspace.clone(), event.position, event.is_private),
        (acme(), Position::logged(entry(5)), false)
    );
    assert_eq!((event.watch.deliveries().streams, event.watch.deliveries().behind), (2, 0));
}

#[test]
fn reader_that_has_no_cursor_owes_nothing() {
    let (fixture, list) = watched(0.0);
    let mut reader = joined(&fixture);
    let _held = fixture.join(Start::Head);
    let _resuming = resume(&fixture, "1-0");
    log_traced(&fixture, 5, true, None);
    assert_eq!(read_short(&mut reader), ["x"]);
    assert_eq!(counts(&list), [(1, 0)]);
}

#[test]
fn reader_that_resumes_in_the_ring_owes_the_event_too() {
    let (fixture, list) = watched(0.0);
    let mut reader = joined(&fixture);
    log(&fixture, 4, "before");
    log_traced(&fixture, 5, true, None);
    let mut late = resume(&fixture, "4-0");
    assert!(matches!(next(&mut late), Poll::Ready(Next::Joined(_))));
    read_short(&mut reader);
    assert_eq!(counts(&list), [], "the late one owes it");
    assert_eq!(read_short(&mut late), ["x"]);
    assert_eq!(counts(&list), [(2, 0)]);
}

/// Items of a stream in one line each, without their ids.
fn without_ids(frames: &[String]) -> Vec<String> {
    let fields = |frame: &String| frame.lines().filter(|line| !line.starts_with("id: ")).collect();
    frames.iter().map(fields).collect()
}

#[test]
fn frame_carries_the_trace_of_a_sampled_event() {
    for in_streams in [true, false] {
        let settings = HubSettings { traces_in_streams: in_streams, ..settings() };
        let fixture = fixture_with(settings);
        let mut reader = joined(&fixture);
        let sampled = log_traced(&fixture, 5, true, None);
        let unsampled = log_traced(&fixture, 6, false, None);
        log(&fixture, 7, "none");
        let comment = if in_streams { format!(": traceparent={sampled}") } else { String::new() };
        let expected = [comment + "data: x", "data: x".to_owned(), "data: none".to_owned()];
        assert_eq!(without_ids(&read(&mut reader)), expected);
        // A node that has only the log sends the same.
        for (entry, trace) in fixture.log.lock().entries.iter_mut().zip([sampled, unsampled]) {
            entry.trace = Some(trace);
        }
        let other = fixture_with(settings);
        std::mem::swap(&mut *other.log.lock(), &mut *fixture.log.lock());
        let mut replaying = other.join(Start::Newest { count: 3 });
        other.confirm();
        let mut replayed = read(&mut replaying);
        while other.complete_reads() > 0 {
            replayed.extend(read(&mut replaying));
        }
        assert_eq!(without_ids(&replayed)[1..], expected);
    }
}

#[test]
fn hidden_event_is_no_delivery() {
    let (fixture, list) = watched(0.0);
    let filter = SubscriptionFilter { user: Some(UserId::parse("u1").unwrap().key()), ..Default::default() };
    let (mut other, mut own) = (joined(&fixture), fixture.hub.join(&acme(), Start::Head, filter).unwrap());
    read_short(&mut own);
    log_traced(&fixture, 5, true, Some("u1"));
    assert_eq!((read_short(&mut other).len(), read_short(&mut own).len()), (0, 1));
    assert_eq!(counts(&list), [(1, 0)]);
}

#[test]
fn entry_of_the_log_brings_its_trace() {
    let (fixture, list) = watched(0.0);
    let mut reader = joined(&fixture);
    log(&fixture, 4, "before");
    log_unannounced(&fixture, 5, "by hand");
    fixture.log.lock().entries.last_mut().unwrap().trace = Some(TraceParent::begin(true));
    send_message(&fixture, "");
    fixture.complete_reads();
    assert_eq!(read_short(&mut reader), ["before", "by hand"]);
    assert_eq!(counts(&list), [(1, 0)]);
}

#[test]
fn flag_of_the_publisher_decides_and_the_ratio_for_all_others() {
    for (ratio, expected) in [(0.0, 1), (1.0, 3)] {
        let (fixture, list) = watched(ratio);
        let _reader = joined(&fixture);
        log_traced(&fixture, 5, false, None);
        log_traced(&fixture, 6, true, None);
        log(&fixture, 7, "no trace");
        send_message(&fixture, "live");
        assert_eq!(list.take_finished(Instant::now(), Duration::ZERO).len(), expected, "{ratio}");
    }
}

#[test]
fn events_beyond_the_bounds_are_left_out() {
    let (fixture, list) = watched(1.0);
    let mut reader = joined(&fixture);
    (1..=300).for_each(|id| log(&fixture, id, "x"));
    let of_workspace = WATCHED_OF_WORKSPACE_MAX as u64;
    assert_eq!(fixture.metrics.spans(SpanResult::LeftOut), 300 - of_workspace);
    for number in 0..of_workspace * 20 {
        let workspace = WorkspaceId::parse(&format!("w{}", number % 20)).unwrap();
        let frame = Frame::application("5-0".parse().unwrap(), "x");
        drop(list.watched(frame, None, &workspace, number, 1));
    }
    assert_eq!(list.take_finished(Instant::now(), Duration::ZERO).len(), WATCHED_MAX);
    assert!(list.is_empty());
    read(&mut reader);
    log(&fixture, 301, "x");
    assert!(!list.is_empty());
}

#[test]
fn reader_that_does_not_read_is_behind_at_the_end() {
    let (fixture, list) = watched(0.0);
    let (mut reader, _slow) = (joined(&fixture), joined(&fixture));
    log_traced(&fixture, 5, true, None);
    read_short(&mut reader);
    assert_eq!(counts(&list), []);
    let events = list.take_finished(Instant::now() + WATCH_TIME, WATCH_TIME);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].watch.deliveries().streams, events[0].watch.deliveries().behind), (1, 1));
}
