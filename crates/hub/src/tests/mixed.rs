//! Workspaces with live and durable events, and more than one node.

use super::*;

/// Two nodes with one log, which moves to the node that a test uses.
fn hop(from: &Fixture, position: &str) -> (Fixture, Subscriber) {
    let to = fixture_of(from);
    let subscriber = resume(&to, position);
    to.hub.confirmed(&acme());
    (to, subscriber)
}

/// A client with the logged event 1 and the events after it. When it had left, its node received a
/// live event and a logged one.
fn left_before_a_live_event() -> Fixture {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 1, "1");
    assert_eq!(read_short(&mut subscriber), ["1"]);
    drop(subscriber);
    send_message(&fixture, "live");
    log(&fixture, 2, "2");
    fixture
}

/// A client that resumes from the log gets a reset if another node received live events.
#[test]
fn resume_resets_for_live_events_that_another_node_received() {
    let left = left_before_a_live_event();
    left.write_marks();
    let (other, mut back) = hop(&left, "1-0");
    assert_eq!(read_all(&other, &mut back), ["resumed", "2", "reset:live-events"]);
    assert_eq!(position(&back), "2-0");
}

/// A mark that appears after the confirmation still leads to a reset.
#[test]
fn late_mark_causes_a_late_reset() {
    let left = left_before_a_live_event();
    let (other, mut back) = hop(&left, "1-0");
    let mut looks = Vec::new();
    assert!(next(&mut back).is_pending());
    while let Some(read) = other.hub.read_queue().take() {
        if read.span == Span::LiveMark {
            assert_eq!(read.pause, Duration::from_secs(2));
            looks.push(read);
        } else {
            other.hub.answer(&read, other.log.lock().read(read.span, 3));
        }
    }
    let mut got = read_short(&mut back);
    while let Some(read) = other.hub.read_queue().take() {
        other.hub.answer(&read, other.log.lock().read(read.span, 3));
        got.extend(read_short(&mut back));
    }
    assert_eq!(got, ["resumed", "2"]);
    let live_position = position(&back);
    assert!(
        live_position.starts_with("2-0~"),
        "until the look, its place is one beside the log: {live_position}"
    );
    other.log.lock().live = LiveMark::Until(3);
    let [look] = &looks[..] else { panic!("{looks:?}") };
    other.hub.answer(look, other.log.lock().read(look.span, 3));
    assert_eq!(read_all(&other, &mut back), ["reset:live-events"]);
    assert_eq!(position(&back), "2-0");
    // A client that reconnects in between gets the reset from another node.
    let (third, mut back) = hop(&other, &live_position);
    assert_eq!(read_all(&third, &mut back), ["resumed", "reset:live-events"]);
}

#[test]
fn failed_look_is_repeated() {
    for (mark, resets) in [(LiveMark::Absent, &[][..]), (LiveMark::Until(3), &["reset:live-events"])] {
        let first = fixture();
        let _subscriber = joined(&first);
        (1..=2).for_each(|id| log(&first, id, &id.to_string()));
        let (other, mut back) = hop(&first, "1-0");
        let mut fails = 2;
        let mut complete_all = || {
            while let Some(read) = other.hub.read_queue().take() {
                let fails_now = read.span == Span::LiveMark && fails > 0;
                fails -= i32::from(fails_now);
                if fails_now {
                    assert_eq!(read.pause, Duration::from_secs(2));
                    other.hub.answer(&read, Err(LogError::Unavailable("no answer in time".to_owned())));
                    if fails == 0 {
                        other.log.lock().live = mark;
                    }
                } else {
                    other.hub.answer(&read, other.log.lock().read(read.span, 3));
                }
            }
        };
        assert!(next(&mut back).is_pending());
        complete_all();
        let mut got = read_short(&mut back);
        complete_all();
        got.extend(read_short(&mut back));
        let expected: Vec<_> = ["resumed", "2"].iter().chain(resets).copied().collect();
        assert_eq!(got, expected, "{mark:?}");
        assert_eq!(position(&back), "2-0");
    }
}

#[test]
fn workspace_whose_events_are_all_durable_gets_no_resets() {
    let first = fixture();
    let mut subscriber = joined(&first);
    (1..=3).for_each(|id| log(&first, id, &id.to_string()));
    assert_eq!(read_short(&mut subscriber), ["1", "2", "3"]);
    let (second, mut back) = hop(&first, "1-0");
    assert_eq!(read_all(&second, &mut back), ["resumed", "2", "3"]);
    second.hub.interrupted();
    log_unannounced(&second, 4, "4");
    second.confirm();
    assert_eq!(read_all(&second, &mut back), ["4"]);
    assert_eq!(position(&back), "4-0");
    let (third, mut back) = hop(&second, &position(&back));
    assert_eq!(read_all(&third, &mut back), ["resumed"]);
}

#[test]
fn interruption_causes_a_reset_if_another_node_received_live_events() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 1, "1");
    fixture.hub.interrupted();
    fixture.hub.confirmed(&acme());
    let mut look = None;
    while let Some(read) = fixture.hub.read_queue().take() {
        if read.span == Span::LiveMark {
            look = Some(read);
        } else {
            fixture.hub.answer(&read, fixture.log.lock().read(read.span, 3));
        }
    }
    assert_eq!(read_short(&mut subscriber), ["1"]);
    fixture.log.lock().live = LiveMark::Until(9);
    let look = look.unwrap();
    fixture.hub.answer(&look, fixture.log.lock().read(look.span, 3));
    assert_eq!(read_short(&mut subscriber), ["reset:interrupted"]);
}

#[test]
fn mark_that_cannot_be_read_counts_as_live_events() {
    let left = left_before_a_live_event();
    left.log.lock().live = LiveMark::Unknown;
    let (other, mut back) = hop(&left, "1-0");
    assert_eq!(read_all(&other, &mut back), ["resumed", "2", "reset:live-events"]);
}

#[test]
fn setting_decides_whether_workspaces_carry_live_events() {
    for (live, resets) in [(LiveEvents::Never, &[][..]), (LiveEvents::Always, &["reset:live-events"])] {
        let fixture = fixture_with(HubSettings { live, ..settings() });
        (1..=2).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
        let _keeps_the_workspace = joined(&fixture);
        let expected: Vec<_> = ["resumed", "2"].iter().chain(resets).copied().collect();
        let mut back = resume(&fixture, "1-0");
        assert_eq!(read_all(&fixture, &mut back), expected, "{live:?}");
        send_message(&fixture, "live");
        assert_eq!(fixture.hub.marks().take(), None, "no mark is kept");
        assert_eq!(read_all(&fixture, &mut back), ["live"]);
    }
}

/// A mark reaches beyond its writing for a time, and is renewed in the middle of that.
#[test]
fn mark_is_written_once_for_many_live_events() {
    let now = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let read = Arc::clone(&now);
    let clock = Clock::new(move || Duration::from_millis(read.load(Ordering::SeqCst)));
    let (desired_subscriptions, metrics) =
        (Arc::new(DesiredSubscriptions::default()), Arc::new(Metrics::new()));
    let hub = Hub::with_clock(
        NodeId::random(),
        settings(),
        Arc::clone(&desired_subscriptions),
        Arc::clone(&metrics),
        clock,
    );
    let fixture = Fixture { hub, desired_subscriptions, metrics, log: Mutex::default() };
    let _keeps_the_workspace = joined(&fixture);
    let marks = || std::iter::from_fn(|| fixture.hub.marks().take()).count();
    (0..10).for_each(|_| send_message(&fixture, "live"));
    assert_eq!(marks(), 1);
    now.store(u64::try_from(MARK_SLACK.as_millis() / 2).unwrap() - 1, Ordering::SeqCst);
    send_message(&fixture, "live");
    assert_eq!(marks(), 0);
    now.fetch_add(1, Ordering::SeqCst);
    send_message(&fixture, "live");
    assert_eq!(marks(), 1);
    fixture.hub.mark_failed(&acme());
    send_message(&fixture, "live");
    assert_eq!(marks(), 1, "a mark that was not written is wanted again");
}

/// An entry that a read could bring before its announcement waits for it, so live events before it
/// keep their place.
#[test]
fn live_events_keep_their_place_among_announced_ones() {
    let fixture = large_ring();
    let mut subscriber = joined(&fixture);
    log(&fixture, 1, "1");
    fixture.log.lock().append_plainly(entry(2), "2", None);
    send_message(&fixture, "");
    send_message(&fixture, "live a");
    log(&fixture, 3, "3");
    send_message(&fixture, "live b");
    log(&fixture, 4, "4");
    assert_eq!(read_all(&fixture, &mut subscriber), ["1", "2", "live a", "3", "live b", "4"]);
}
