//! The order of channel and log: gaps, interruptions, refusals, and events that cannot be
//! delivered.

use super::*;

/// An interruption that may lose live events leads to one reset for each client.
#[test]
fn interruption_that_may_lose_live_events_resets_each_client_once() {
    let fixture = fixture();
    let mut live = joined(&fixture);
    assert!(live.is_live());
    fixture.hub.interrupted();
    assert!(!live.is_live());
    let mut held = fixture.join(Start::Head);
    assert_eq!(next(&mut live), Poll::Pending);
    assert_eq!(next(&mut held), Poll::Pending, "no `connected` event while the link is down");
    fixture.hub.interrupted();
    fixture.confirm();
    assert_eq!(read_short(&mut live), ["reset:interrupted"]);
    assert_eq!(read(&mut held), ["joined"], "a client that joins after the interruption has missed nothing");
    fixture.confirm();
    assert_eq!(next(&mut live), Poll::Pending, "a repeated confirmation changes nothing");
}

/// After an interruption a node delivers the logged events of that time before newer ones.
#[test]
fn log_replays_missed_events_after_an_interruption() {
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
fn read_from_before_an_interruption_is_ignored_after_it() {
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
    fixture.complete_reads();
    assert_eq!(read_short(&mut live), ["2"]);
}

#[test]
fn log_that_lost_events_causes_a_reset_after_interruption() {
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

/// A restart of the server without its data removes the record of the epoch too. A trim, a deletion
/// or an expiry loses nothing that a log has to keep.
#[test]
fn log_that_lost_received_events_counts_once() {
    let day = Duration::from_secs(86_400);
    for (lose, retention, losses) in [
        ((|log| log.roll_back(1)) as fn(&mut ModelLog), day, 1),
        (ModelLog::flush, Duration::MAX, 1),
        (ModelLog::end, Duration::MAX, 0),
        (|log| log.trim(0), Duration::MAX, 0),
        // The events are of 1970, so the log has expired with its record.
        (ModelLog::flush, day, 0),
    ] {
        for is_interrupted in [true, false] {
            let fixture = fixture_with(HubSettings { retention, ..settings() });
            log_unannounced(&fixture, 1, "1");
            log_unannounced(&fixture, 2, "2");
            let mut live = joined(&fixture);
            if is_interrupted {
                fixture.hub.interrupted();
            }
            lose(&mut fixture.log.lock());
            if is_interrupted {
                fixture.confirm();
            }
            log(&fixture, 4, "4");
            log(&fixture, 5, "5");
            read_all(&fixture, &mut live);
            // Without an interruption a log of the same epoch goes on where it ends.
            let is_unseen = !is_interrupted && retention == day;
            let expected = if is_unseen { 0 } else { losses };
            assert_eq!(fixture.metrics.log_losses.get(), expected, "{retention:?} {is_interrupted}");
        }
    }
}

/// The place of a client proves nothing about a log.
#[test]
fn position_of_a_client_counts_no_lost_log() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let _live = joined(&fixture);
    let mut ahead = resume(&fixture, "1996045566024-0");
    assert_eq!(read_all(&fixture, &mut ahead), ["unproven:rolled-back"]);
    assert_eq!(fixture.metrics.resets(ResetReason::RolledBack.as_str()), 1);
    assert_eq!(fixture.metrics.log_losses.get(), 0);
}

#[test]
fn gap_in_an_unreadable_log_causes_a_reset() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let mut subscriber = joined(&fixture);
    log_unannounced(&fixture, 2, "2");
    log_unannounced(&fixture, 3, "3");
    fixture.log.lock().failure = Some(LogError::Unreadable("no permission".to_owned()));
    log(&fixture, 4, "4");
    fixture.complete_reads();
    let got = read(&mut subscriber).join("");
    assert!(got.contains(r#"{"from":"1-0","head":"3-0","reason":"log-unreadable"}"#), "{got}");
    assert!(got.ends_with("id: 4-0\ndata: 4\n\n"), "{got}");
}

#[test]
fn refusal_ends_subscribers_and_the_next_join_tries_again() {
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
    assert_eq!(read_short(&mut back), ["resumed", "reset:interrupted"], "a reset reports the missed events");
}

/// A node fills a gap from the log before it delivers the event behind the gap.
#[test]
fn gap_is_filled_from_the_log_before_the_event() {
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
        retention: Duration::MAX,
        traces_in_streams: false,
    };
    let fixture = fixture_with(settings);
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    log_unannounced(&fixture, 6, "6");
    log_unannounced(&fixture, 7, "7");
    send_message(&fixture, "live, before the gap shows");
    log(&fixture, 8, "8");
    send_message(&fixture, "live, after it");
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
        send_message(&fixture, "");
    }
    assert_eq!(
        fixture.complete_reads(),
        2,
        "both looks were needed: the second came after the first read was asked for"
    );
    assert_eq!(read_short(&mut subscriber), ["1", "2"]);
}

#[test]
fn logged_events_among_messages_that_could_not_wait_are_read() {
    let fixture = large_ring();
    let mut subscriber = joined(&fixture);
    log_unannounced(&fixture, 1, "1");
    log(&fixture, 2, "2");
    for id in 3..=20 {
        log(&fixture, id, &id.to_string());
    }
    for number in 0..13 {
        send_message(&fixture, &format!("live {number}"));
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
fn interruption_of_a_durable_workspace_causes_no_reset() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "long ago, by an unknown publisher");
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
fn interruption_causes_a_reset_also_without_a_readable_log() {
    let fixture = fixture();
    fixture.log.lock().failure = Some(LogError::Unreadable("WRONGTYPE".to_owned()));
    let mut live = joined(&fixture);
    send_message(&fixture, "a");
    fixture.hub.interrupted();
    fixture.confirm();
    assert_eq!(read_short(&mut live), ["a", "reset:interrupted"]);
    send_message(&fixture, "");
    assert_eq!(read_all(&fixture, &mut live), ["reset:log-unreadable"], "new entries of the log are unknown");
}

#[test]
fn live_events_stand_after_the_last_logged_one() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "logged");
    send_message(&fixture, "live");
    assert_eq!(read_short(&mut subscriber), ["logged", "live"]);
    let position: Position = position(&subscriber).parse().unwrap();
    assert_eq!(position.entry, entry(5));
    assert!(position.live.is_some());
}

/// An event that cannot be delivered is counted and replaced by a reset.
#[test]
fn undeliverable_event_is_counted_and_causes_a_reset() {
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
        retention: Duration::MAX,
        traces_in_streams: false,
    });
    let mut subscriber = joined(&fixture);
    send_message(&fixture, "1234");
    send_message(&fixture, "12345");
    fixture.hub.message(&acme(), Bytes::from_static(b"\xff"));
    send_message(&fixture, "tidings/1 nonsense");
    log(&fixture, 5, "too large for the limit");
    log(&fixture, 6, "ok");
    assert_eq!(
        read_short(&mut subscriber),
        ["1234", "reset:too-large", "reset:too-large", "ok"],
        "the first reset comes at once, one for the others before the next event"
    );
    assert_eq!(fixture.metrics.dropped(ResetReason::TooLarge.as_str()), 2);
    assert_eq!(fixture.metrics.dropped(ResetReason::NotUtf8.as_str()), 1);
    assert_eq!(fixture.metrics.dropped(ResetReason::BadEnvelope.as_str()), 1);
}
