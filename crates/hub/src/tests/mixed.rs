//! Workspaces that carry live events beside logged ones, and more than one node.

use super::*;

/// Two nodes beside one log; the log moves to whichever is used.
fn hop(from: &Fixture, position: &str) -> (Fixture, Subscriber) {
    let to = fixture_of(from);
    let subscriber = resume(&to, position);
    to.hub.confirmed(&acme());
    (to, subscriber)
}

/// A client with the logged event 1, and what came then; its node heard a live event and a logged one after it left.
fn left_before_a_live_event() -> Fixture {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 1, "1");
    assert_eq!(read_short(&mut subscriber), ["1"]);
    drop(subscriber);
    say(&fixture, "live");
    log(&fixture, 2, "2");
    fixture
}

/// A client that resumes from the log gets a reset if another node received live events.
#[test]
fn node_that_resumes_from_the_log_tells_of_live_events_that_another_heard() {
    let left = left_before_a_live_event();
    left.write_marks();
    let (other, mut back) = hop(&left, "1-0");
    assert_eq!(read_all(&other, &mut back), ["resumed", "2", "reset:live-events"]);
    assert_eq!(position(&back), "2-0");
}

/// A mark that appears after the confirmation still leads to a reset.
#[test]
fn mark_that_comes_late_is_told_late() {
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
    let doubted = position(&back);
    assert!(doubted.starts_with("2-0~"), "until the look, its place is one beside the log: {doubted}");
    other.log.lock().live = LiveMark::Until(3);
    let [look] = &looks[..] else { panic!("{looks:?}") };
    other.hub.answer(look, other.log.lock().read(look.span, 3));
    assert_eq!(read_all(&other, &mut back), ["reset:live-events"]);
    assert_eq!(position(&back), "2-0");
    // Whoever broke off in between is told elsewhere.
    let (third, mut back) = hop(&other, &doubted);
    assert_eq!(read_all(&third, &mut back), ["resumed", "reset:live-events"]);
}

#[test]
fn look_that_the_bus_does_not_answer_is_made_again() {
    for (mark, told) in [(LiveMark::Absent, &[][..]), (LiveMark::Until(3), &["reset:live-events"])] {
        let first = fixture();
        let _subscriber = joined(&first);
        (1..=2).for_each(|id| log(&first, id, &id.to_string()));
        let (other, mut back) = hop(&first, "1-0");
        let mut fails = 2;
        let mut answer_all = || {
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
        answer_all();
        let mut got = read_short(&mut back);
        answer_all();
        got.extend(read_short(&mut back));
        let expected: Vec<_> = ["resumed", "2"].iter().chain(told).copied().collect();
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
fn interruption_is_told_where_another_node_heard_live_events() {
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
fn setting_says_whether_workspaces_carry_live_events() {
    for (live, told) in [(LiveEvents::Never, &[][..]), (LiveEvents::Always, &["reset:live-events"])] {
        let fixture = fixture_with(HubSettings { live, ..settings() });
        (1..=2).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
        let _keeps_the_workspace = joined(&fixture);
        let expected: Vec<_> = ["resumed", "2"].iter().chain(told).copied().collect();
        let mut back = resume(&fixture, "1-0");
        assert_eq!(read_all(&fixture, &mut back), expected, "{live:?}");
        say(&fixture, "live");
        assert_eq!(fixture.hub.marks().take(), None, "no mark is kept");
        assert_eq!(read_all(&fixture, &mut back), ["live"]);
    }
}

/// A mark reaches for a while beyond its writing, and is renewed in the middle of that.
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
    (0..10).for_each(|_| say(&fixture, "live"));
    assert_eq!(marks(), 1);
    now.store(u64::try_from(MARK_SLACK.as_millis() / 2).unwrap() - 1, Ordering::SeqCst);
    say(&fixture, "live");
    assert_eq!(marks(), 0);
    now.fetch_add(1, Ordering::SeqCst);
    say(&fixture, "live");
    assert_eq!(marks(), 1);
    fixture.hub.mark_failed(&acme());
    say(&fixture, "live");
    assert_eq!(marks(), 1, "a mark that was not written is wanted again");
}

/// What a read has brought ahead of its announcement waits for it, so that live events before it keep their place.
#[test]
fn live_events_keep_their_place_among_announced_ones() {
    let fixture = roomy();
    let mut subscriber = joined(&fixture);
    log(&fixture, 1, "1");
    fixture.log.lock().append_plainly(entry(2), "2", None);
    say(&fixture, "");
    say(&fixture, "live a");
    log(&fixture, 3, "3");
    say(&fixture, "live b");
    log(&fixture, 4, "4");
    assert_eq!(read_all(&fixture, &mut subscriber), ["1", "2", "live a", "3", "live b", "4"]);
}
