//! Channel and log put together: gaps, interruptions, refusals, and what cannot be delivered.

use super::*;

/// An interruption that may lose live events leads to one reset for each client.
#[test]
fn an_interruption_is_told_once_to_everyone_when_live_events_may_be_lost() {
    let fixture = fixture();
    let mut live = joined(&fixture);
    assert!(live.is_live());
    fixture.hub.interrupted();
    assert!(!live.is_live());
    let mut held = fixture.join(Start::Head);
    assert_eq!(next(&mut live), Poll::Pending);
    assert_eq!(next(&mut held), Poll::Pending, "no hello while the link is down");
    fixture.hub.interrupted();
    fixture.confirm();
    assert_eq!(read_short(&mut live), ["reset:interrupted"]);
    assert_eq!(read(&mut held), ["joined"], "who joins after the interruption has missed nothing");
    fixture.confirm();
    assert_eq!(next(&mut live), Poll::Pending, "a repeated confirmation says nothing new");
}

/// After an interruption a node delivers the logged events of that time before newer ones.
#[test]
fn after_an_interruption_the_log_brings_what_was_missed() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let mut live = joined(&fixture);
    fixture.hub.interrupted();
    for id in 2..=9 {
        log_unannounced(&fixture, id, &id.to_string());
    }
    fixture.hub.confirmed(&acme());
    log(&fixture, 10, "10");
    let mut got = Vec::new();
    while let Some(read) = fixture.hub.read_queue().take() {
        fixture.hub.answer(&read, fixture.log.lock().read(read.span, 3));
        got.extend(read_short(&mut live));
    }
    assert_eq!(got, ["2", "3", "4", "5", "6", "7", "8", "9", "10"]);
}

#[test]
fn an_answer_from_before_an_interruption_is_not_taken_for_one_after_it() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let mut live = joined(&fixture);
    fixture.hub.interrupted();
    fixture.hub.confirmed(&acme());
    let stale = fixture.hub.read_queue().take().unwrap();
    let page = fixture.log.lock().read(stale.span, 3);
    fixture.hub.interrupted();
    log_unannounced(&fixture, 2, "2");
    fixture.hub.confirmed(&acme());
    fixture.hub.answer(&stale, page);
    assert_eq!(next(&mut live), Poll::Pending);
    fixture.answer_reads();
    assert_eq!(read_short(&mut live), ["2"]);
}

#[test]
fn a_log_that_lost_what_was_known_is_told_after_an_interruption() {
    for (lose, reason) in [
        (ModelLog::roll_back as fn(&mut ModelLog, usize), "rolled-back"),
        (ModelLog::trim as fn(&mut ModelLog, usize), "trimmed"),
    ] {
        let fixture = fixture();
        log_unannounced(&fixture, 1, "1");
        log_unannounced(&fixture, 2, "2");
        let mut live = joined(&fixture);
        fixture.hub.interrupted();
        lose(&mut fixture.log.lock(), 1);
        if reason == "trimmed" {
            log_unannounced(&fixture, 3, "3");
            fixture.log.lock().trim(1);
        }
        fixture.confirm();
        assert_eq!(read_short(&mut live), [format!("reset:{reason}")]);
        log(&fixture, 4, "4");
        assert_eq!(read_short(&mut live), ["4"]);
    }
}

#[test]
fn a_gap_in_a_log_that_cannot_be_read_is_told_up_to_the_event_after_it() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let mut subscriber = joined(&fixture);
    log_unannounced(&fixture, 2, "2");
    log_unannounced(&fixture, 3, "3");
    fixture.log.lock().failure = Some(LogError::Unreadable("no permission".to_owned()));
    log(&fixture, 4, "4");
    fixture.answer_reads();
    let got = read(&mut subscriber).join("");
    assert!(got.contains(r#"{"from":"1-0","head":"3-0","reason":"log-unreadable"}"#), "{got}");
    assert!(got.ends_with("id: 4-0\ndata: 4\n\n"), "{got}");
}

#[test]
fn a_refusal_ends_subscribers_and_the_next_one_makes_the_bus_try_again() {
    let fixture = fixture();
    let mut live = joined(&fixture);
    let seen = position(&live);
    fixture.hub.interrupted();
    fixture.hub.refused(&acme(), "NOPERM");
    assert_eq!(read(&mut live), ["unavailable"]);
    drop(live);
    fixture.desired_subscriptions.take_changes();
    let mut back = resume(&fixture, &seen);
    assert_eq!(fixture.desired_subscriptions.take_changes()[&acme()], SubscriptionChange::Want);
    assert_eq!(next(&mut back), Poll::Pending);
    fixture.confirm();
    assert_eq!(read_short(&mut back), ["resumed", "reset:interrupted"], "what was missed meanwhile is told");
}

/// A node fills a gap from the log before it delivers the event behind the gap.
#[test]
fn a_gap_is_filled_from_the_log_before_the_event_goes_out() {
    let settings = HubSettings {
        ring_events: 10,
        ring_bytes: 1 << 20,
        ring_bytes_in_all: 1 << 30,
        replay_bytes: 1 << 30,
        rates: Rates::default(),
        event_bytes: 64,
        linger: Duration::ZERO,
        workspaces: 100,
        live: LiveEvents::Auto,
    };
    let fixture = fixture_with(settings);
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    log_unannounced(&fixture, 6, "6");
    log_unannounced(&fixture, 7, "7");
    say(&fixture, "live, before the gap shows");
    log(&fixture, 8, "8");
    say(&fixture, "live, after it");
    log(&fixture, 9, "9");
    let got = read_all(&fixture, &mut subscriber);
    assert_eq!(got, ["5", "live, before the gap shows", "6", "7", "8", "live, after it", "9"]);
}

#[test]
fn an_announcement_that_comes_twice_is_taken_once() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    fixture.hub.message(&acme(), envelope::encode(entry(5), EntryId::ZERO, b"5", None));
    assert_eq!(read_all(&fixture, &mut subscriber), ["5"]);
}

#[test]
fn an_empty_message_means_to_look_at_the_log() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    for id in 1..=2 {
        log_unannounced(&fixture, id, &id.to_string());
        say(&fixture, "");
    }
    assert_eq!(
        fixture.answer_reads(),
        2,
        "both looks were needed: the second came after the first read was asked for"
    );
    assert_eq!(read_short(&mut subscriber), ["1", "2"]);
}

#[test]
fn logged_events_among_messages_that_could_not_wait_are_read() {
    let fixture = roomy();
    let mut subscriber = joined(&fixture);
    log_unannounced(&fixture, 1, "1");
    log(&fixture, 2, "2");
    for id in 3..=20 {
        log(&fixture, id, &id.to_string());
    }
    for number in 0..13 {
        say(&fixture, &format!("live {number}"));
    }
    let got = read_all(&fixture, &mut subscriber);
    let logged: Vec<_> =
        got.iter().filter(|text| !text.contains("live") && !text.contains("reset")).collect();
    assert_eq!(
        logged,
        (1..=20).map(|id| id.to_string()).collect::<Vec<_>>().iter().collect::<Vec<_>>(),
        "{got:?}"
    );
}

#[test]
fn an_interruption_is_told_unless_the_workspace_has_shown_that_it_logs_what_it_carries() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "long ago, by who knows whom");
    let mut live = joined(&fixture);
    fixture.hub.interrupted();
    fixture.confirm();
    assert_eq!(read_short(&mut live), ["reset:interrupted"]);
    log(&fixture, 2, "2");
    fixture.hub.interrupted();
    fixture.confirm();
    assert_eq!(read_short(&mut live), ["2"]);
}

#[test]
fn an_interruption_is_told_also_where_the_log_could_never_be_read() {
    let fixture = fixture();
    fixture.log.lock().failure = Some(LogError::Unreadable("WRONGTYPE".to_owned()));
    let mut live = joined(&fixture);
    say(&fixture, "a");
    fixture.hub.interrupted();
    fixture.confirm();
    assert_eq!(read_short(&mut live), ["a", "reset:interrupted"]);
    say(&fixture, "");
    assert_eq!(read_all(&fixture, &mut live), ["reset:log-unreadable"], "what is new in it cannot be told");
}

#[test]
fn live_events_stand_after_the_last_logged_one() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "logged");
    say(&fixture, "live");
    assert_eq!(read_short(&mut subscriber), ["logged", "live"]);
    let position: Position = position(&subscriber).parse().unwrap();
    assert_eq!(position.entry, entry(5));
    assert!(position.live.is_some());
}

/// An event that cannot be delivered is counted and replaced by a reset.
#[test]
fn what_cannot_be_delivered_is_counted_and_told() {
    let fixture = fixture_with(HubSettings {
        ring_events: 100,
        ring_bytes: 1 << 20,
        ring_bytes_in_all: 1 << 30,
        replay_bytes: 1 << 30,
        rates: Rates::default(),
        event_bytes: 4,
        linger: Duration::ZERO,
        workspaces: 100,
        live: LiveEvents::Auto,
    });
    let mut subscriber = joined(&fixture);
    say(&fixture, "1234");
    say(&fixture, "12345");
    fixture.hub.message(&acme(), Bytes::from_static(b"\xff"));
    say(&fixture, "tidings/1 nonsense");
    log(&fixture, 5, "too large for the limit");
    log(&fixture, 6, "ok");
    assert_eq!(
        read_short(&mut subscriber),
        ["1234", "reset:too-large", "reset:too-large", "ok"],
        "the first is told at once, and the others together before the next event"
    );
    assert_eq!(fixture.metrics.dropped(ResetReason::TooLarge.as_str()), 2);
    assert_eq!(fixture.metrics.dropped(ResetReason::NotUtf8.as_str()), 1);
    assert_eq!(fixture.metrics.dropped(ResetReason::BadEnvelope.as_str()), 1);
}
