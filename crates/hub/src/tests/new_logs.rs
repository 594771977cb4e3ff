//! Logs that end and begin again while the subscription is confirmed, and false announcements.

use super::*;

/// Announces an event that is not in the log.
fn forge(fixture: &Fixture, id: EntryId, previous: u64) {
    fixture.hub.message(&acme(), envelope::encode(id, entry(previous), b"forged", None));
}

/// The first event of a new epoch continues the order without a reset.
#[test]
fn first_event_of_a_new_log_comes_without_a_reset() {
    for lose in [ModelLog::end, ModelLog::flush] {
        let fixture = fixture();
        let mut subscriber = joined(&fixture);
        log(&fixture, 5, "5");
        lose(&mut fixture.log.lock());
        log(&fixture, 7, "7");
        log(&fixture, 8, "8");
        assert_eq!(read_all(&fixture, &mut subscriber), ["5", "7", "8"]);
        // By plain commands.
        lose(&mut fixture.log.lock());
        for id in [9, 10] {
            fixture.log.lock().append_plainly(entry(id), &id.to_string(), None);
        }
        send_message(&fixture, "");
        assert_eq!(read_all(&fixture, &mut subscriber), ["9", "10"]);
    }
}

#[test]
fn event_after_the_newest_was_removed_comes_without_a_reset() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    log(&fixture, 6, "6");
    fixture.log.lock().remove(entry(6));
    log(&fixture, 7, "7");
    assert_eq!(read_all(&fixture, &mut subscriber), ["5", "6", "7"]);
}

/// The last id was ahead of the clock; after the log has ended, ids begin below it.
#[test]
fn new_log_below_the_last_id_is_no_repetition() {
    let fixture = large_ring();
    let mut subscriber = joined(&fixture);
    log(&fixture, 1_000_000, "ahead");
    fixture.log.lock().end();
    (5..=9).for_each(|id| log(&fixture, id, &id.to_string()));
    assert_eq!(read_all(&fixture, &mut subscriber), ["ahead", "5", "6", "7", "8", "9"]);
    let mut late = fixture.join(Start::Head);
    assert_eq!(read_short(&mut late), ["joined"]);
    log(&fixture, 10, "10");
    assert_eq!(read_all(&fixture, &mut late), ["10"]);
    assert_eq!(fixture.metrics.resets(ResetReason::Trimmed.as_str()), 0);
}

/// An announced event that the log does not hold moves no position.
#[test]
fn announced_event_outside_the_log_changes_no_order() {
    for (id, previous) in
        [(EntryId { milliseconds: u64::MAX, sequence: 5 }, 0), (entry(9), 8), (entry(4), 0), (entry(4), 3)]
    {
        let fixture = fixture();
        let mut subscriber = joined(&fixture);
        log(&fixture, 5, "5");
        forge(&fixture, id, previous);
        log(&fixture, 6, "6");
        let mut got = read_all(&fixture, &mut subscriber);
        got.sort();
        assert_eq!(got, ["5", "6", "reset:bad-envelope"], "{id} {previous}");
        log(&fixture, 7, "7");
        assert_eq!(read_all(&fixture, &mut subscriber), ["7"]);
        assert_eq!(fixture.metrics.dropped(ResetReason::BadEnvelope.as_str()), 1);
    }
}

/// Each one costs a read, and the pauses before the reads grow; reads of other workspaces come in
/// between.
#[test]
fn flood_of_false_announcements_pauses_and_causes_one_reset() {
    let fixture = fixture_with(HubSettings { ring_events: 1000, ..settings() });
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    (100..150).for_each(|id| forge(&fixture, entry(id), 50));
    let mut pauses = Vec::new();
    while let Some(read) = fixture.hub.read_queue().take() {
        pauses.push(read.pause);
        fixture.hub.answer(&read, fixture.log.lock().read(read.span, 3));
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert_eq!(pauses.last(), Some(&Duration::from_secs(1)));
    assert_eq!(read_all(&fixture, &mut subscriber), ["5", "reset:bad-envelope"]);
    log(&fixture, 6, "6");
    assert_eq!(read_all(&fixture, &mut subscriber), ["reset:bad-envelope", "6"]);
}

#[test]
fn new_subscribers_do_not_wait_for_a_read_that_pauses() {
    let fixture = fixture_with(HubSettings { ring_events: 1000, ..settings() });
    let _first = joined(&fixture);
    (100..110).for_each(|id| forge(&fixture, entry(id), 50));
    let paused = loop {
        let read = fixture.hub.read_queue().take().unwrap();
        if !read.pause.is_zero() {
            break read;
        }
        fixture.hub.answer(&read, fixture.log.lock().read(read.span, 3));
    };
    let mut late = fixture.join(Start::Head);
    assert_eq!(read(&mut late), ["joined"]);
    log(&fixture, 6, "6");
    fixture.hub.answer(&paused, fixture.log.lock().read(paused.span, 3));
    assert_eq!(read_all(&fixture, &mut late).last().unwrap(), "6");
}

/// Without the right to read the log, no announcement can be verified: the hub delivers its event
/// and sends one reset.
#[test]
fn unreadable_log_that_ends_causes_one_reset() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    fixture.log.lock().failure = Some(LogError::Unreadable("NOPERM".to_owned()));
    fixture.log.lock().end();
    log(&fixture, 7, "7");
    assert_eq!(fixture.complete_reads(), 1);
    log(&fixture, 8, "8");
    assert_eq!(fixture.complete_reads(), 0);
    assert_eq!(read_all(&fixture, &mut subscriber), ["5", "reset:log-unreadable", "7", "8"]);
    let mut late = fixture.join(Start::Head);
    assert_eq!(read(&mut late), ["joined"]);
}

/// Empty messages for a workspace whose log can never be read: each attempt pauses longer.
#[test]
fn looking_at_a_log_that_cannot_be_read_pauses() {
    let fixture = fixture();
    fixture.log.lock().failure = Some(LogError::Unreadable("WRONGTYPE".to_owned()));
    let mut subscriber = joined(&fixture);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        (0..100).for_each(|_| send_message(&fixture, ""));
        let read = fixture.hub.read_queue().take().filter(|read| read.span != Span::LiveMark);
        let Some(read) = read.or_else(|| fixture.hub.read_queue().take()) else { continue };
        pauses.push(read.pause);
        fixture.hub.answer(&read, fixture.log.lock().read(read.span, 3));
    }
    assert!(pauses.last() >= Some(&Duration::from_millis(500)) && pauses.is_sorted(), "{pauses:?}");
    assert!(read_all(&fixture, &mut subscriber).len() <= pauses.len() + 2);
}
