//! Clients that resume, and clients that begin in the past.

use super::*;

/// A position that the ring holds is resumed from the ring, in order and without a read.
#[test]
fn ring_resume_is_ordered_and_reads_no_log() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    send_message(&fixture, "a");
    assert_eq!(read_short(&mut subscriber), ["a"]);
    let seen = position(&subscriber);
    drop(subscriber);
    send_message(&fixture, "b");
    log(&fixture, 7, "c");
    let mut back = resume(&fixture, &seen);
    assert_eq!(
        next(&mut back),
        Poll::Ready(Next::Joined(Joined::Resumed { position: Some(seen.parse().unwrap()) }))
    );
    assert_eq!(read_short(&mut back), ["b", "c"]);
    assert_eq!(position(&back), "7-0");
    let mut again = resume(&fixture, "7-0");
    assert_eq!(read(&mut again), ["resumed"]);
    assert_eq!(fixture.complete_reads(), 0);
}

/// A replay from the log continues in the ring without a gap and without a repetition.
#[test]
fn log_resume_joins_the_ring_without_gap_or_repetition() {
    let fixture = fixture();
    for id in 1..=9 {
        log_unannounced(&fixture, id, &id.to_string());
    }
    let _keeps_the_workspace = joined(&fixture);
    for id in 10..=13 {
        log(&fixture, id, &id.to_string());
    }
    let mut back = resume(&fixture, "2-0");
    let expected: Vec<_> =
        std::iter::once("resumed".to_owned()).chain((3..=13).map(|id| id.to_string())).collect();
    assert_eq!(read_all(&fixture, &mut back), expected);
    log(&fixture, 14, "14");
    assert_eq!(read_short(&mut back), ["14"]);
}

#[test]
fn log_ahead_of_the_channel_repeats_no_event() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let mut live = joined(&fixture);
    log_unannounced(&fixture, 2, "2");
    log_unannounced(&fixture, 3, "3");
    let mut back = resume(&fixture, "0-5");
    fixture.log.lock().append_before(EntryId { milliseconds: 0, sequence: 5 });
    assert_eq!(read_all(&fixture, &mut back), ["resumed", "1", "2", "3"]);
    for (id, previous) in [(2, 1), (3, 2)] {
        fixture
            .hub
            .message(&acme(), envelope::encode(entry(id), entry(previous), id.to_string().as_bytes(), None));
    }
    assert_eq!(next(&mut back), Poll::Pending, "it had these from the log");
    assert_eq!(read_short(&mut live), ["2", "3"]);
    log(&fixture, 4, "4");
    assert_eq!(read_short(&mut back), ["4"]);
}

/// All clients that resume at the same place cost one read of the log.
#[test]
fn clients_that_resume_at_one_position_share_one_read() {
    let fixture = fixture();
    for id in 1..=3 {
        log_unannounced(&fixture, id, &id.to_string());
    }
    let _keeps_the_workspace = joined(&fixture);
    let mut crowd: Vec<_> = (0..1000).map(|_| resume(&fixture, "1-0")).collect();
    for subscriber in &mut crowd {
        assert_eq!(next(subscriber), Poll::Pending);
    }
    assert_eq!(fixture.complete_reads(), 1);
    for subscriber in &mut crowd {
        assert_eq!(read_short(subscriber), ["resumed", "2", "3"]);
    }
    let mut late = resume(&fixture, "1-0");
    assert_eq!(read_short(&mut late), ["resumed", "2", "3"]);
    assert_eq!(fixture.complete_reads(), 0);
}

/// A position that neither ring nor log proves leads to a reset, and the stream continues at the
/// head.
#[test]
fn unproven_position_causes_a_reset_and_continues_at_the_head() {
    let fixture = fixture();
    let mut other = joined(&fixture);
    log(&fixture, 7, "a");
    for (unknown, reason) in [
        ("6-0", "trimmed"),
        ("8-0", "rolled-back"),
        ("6-0~abcdefgh.1", "trimmed"),
        ("0-0~abcdefgh.1", "unknown-position"),
        ("0-0", "trimmed"),
        ("0-0.abcdefgh0123", "trimmed"),
        ("nonsense", "unknown-position"),
        ("🦀", "unknown-position"),
    ] {
        let mut subscriber = resume(&fixture, unknown);
        assert_eq!(read_all(&fixture, &mut subscriber), [format!("unproven:{reason}")], "{unknown}");
        assert_eq!(position(&subscriber), "7-0");
        assert_eq!(next(&mut subscriber), Poll::Pending);
    }
    assert_eq!(fixture.metrics.resets(ResetReason::UnknownPosition.as_str()), 3);
    assert_eq!(read_short(&mut other), ["a"], "only the client that resumed gets a reset");
}

/// The position of an empty log names its next epoch, and only that epoch resumes it, on any node.
#[test]
fn position_before_the_first_event_resumes_in_its_epoch_alone() {
    let expected = ["resumed", "1", "2", "3", "4"];
    let begun = || {
        let gave = fixture();
        let before = position(&joined(&gave));
        assert!(before.starts_with("0-0.") && before.contains('~'), "{before}");
        (1..=4).for_each(|id| log(&gave, id, &id.to_string()));
        assert_eq!(read_all(&gave, &mut resume(&gave, &before)), expected);
        (fixture_of(&gave), before)
    };
    for part in [false, true] {
        let place = |before: String| if part { before.split('~').next().unwrap().to_owned() } else { before };
        let (other, before) = begun();
        let _keeps_the_workspace = joined(&other);
        assert_eq!(read_all(&other, &mut resume(&other, &place(before))), expected);
        let (trimmed, before) = begun();
        trimmed.log.lock().trim(2);
        let _keeps_the_workspace = joined(&trimmed);
        assert_eq!(read_all(&trimmed, &mut resume(&trimmed, &place(before))), ["unproven:trimmed"]);
        let (another, before) = begun();
        another.log.lock().end();
        log_unannounced(&another, 9, "9");
        let _keeps_the_workspace = joined(&another);
        assert_eq!(read_all(&another, &mut resume(&another, &place(before))), ["unproven:trimmed"]);
    }
}

/// Retention ends the log, and a first event begins another one, which proves nothing about its
/// predecessor.
#[test]
fn new_log_proves_no_event_of_its_predecessor() {
    let fixture = fixture();
    log_unannounced(&fixture, 3, "3");
    fixture.log.lock().end();
    log_unannounced(&fixture, 7, "7");
    let _keeps_the_workspace = joined(&fixture);
    assert_eq!(read_all(&fixture, &mut resume(&fixture, "0-0")), ["unproven:trimmed"]);
    assert_eq!(read_all(&fixture, &mut resume(&fixture, "3-0")), ["unproven:trimmed"]);
    for milliseconds in [2, 7] {
        let mut since = fixture.join(Start::Since { milliseconds });
        assert_eq!(read_all(&fixture, &mut since), ["unproven:trimmed"]);
    }
    let mut since = fixture.join(Start::Since { milliseconds: 8 });
    assert_eq!(read_all(&fixture, &mut since), ["resumed"]);
}

/// The clock was corrected, and the new log repeats the ids of its predecessor.
#[test]
fn id_that_two_logs_had_resumes_in_its_epoch_alone() {
    let fixture = fixture();
    (5..=9).for_each(|id| log_unannounced(&fixture, id, "former"));
    fixture.log.lock().end();
    (4..=9).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
    let _keeps_the_workspace = joined(&fixture);
    assert_eq!(read_all(&fixture, &mut resume(&fixture, "7-0")), ["unproven:trimmed"]);
    let epoch = fixture.log.lock().record.unwrap().epoch;
    assert_eq!(read_all(&fixture, &mut resume(&fixture, &format!("7-0.{epoch}"))), ["resumed", "8", "9"]);
    log(&fixture, 10, "10");
    let mut back = resume(&fixture, "10-0");
    assert_eq!(read_all(&fixture, &mut back), ["resumed"], "no former log had this one");
}

/// The node lags: another one has sent the client more of the log than this one knows.
#[test]
fn live_position_of_another_node_resumes_its_log_part() {
    let fixture = fixture();
    (1..=3).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
    let mut stays = joined(&fixture);
    (4..=5).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
    fixture.log.lock().live = LiveMark::Until(5);
    let mut back = resume(&fixture, "4-0~abcdefgh.7");
    let got = read(&mut back).into_iter().chain({
        fixture.complete_reads();
        read(&mut back)
    });
    let got = got.collect::<Vec<_>>().join("");
    let reset = r#"data: {"from":"4-0~abcdefgh.7","head":"5-0","reason":"live-events"}"#;
    assert!(got.starts_with("resumed") && got.contains("data: 5\n") && got.contains(reset), "{got}");
    for (id, previous) in [(4, 3), (5, 4)] {
        let message = envelope::encode(entry(id), entry(previous), id.to_string().as_bytes(), None);
        fixture.hub.message(&acme(), message);
    }
    log(&fixture, 6, "6");
    assert_eq!(read_all(&fixture, &mut back), ["6"], "nothing comes twice");
    assert_eq!(read_all(&fixture, &mut stays), ["4", "5", "6"]);
}

/// The log does not hold the client's position, and the node does not know the end of the log yet.
#[test]
fn head_of_a_reset_is_never_before_the_log_end() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let _lags = joined(&fixture);
    (2..=5).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
    fixture.log.lock().trim(1);
    let mut back = resume(&fixture, "3-0");
    assert_eq!(read_all(&fixture, &mut back), ["unproven:trimmed"]);
    assert_eq!(position(&back), "5-0");
    let message = envelope::encode(entry(5), entry(4), b"5", None);
    fixture.hub.message(&acme(), message);
    log(&fixture, 6, "6");
    let rest = read(&mut back).join("");
    assert!(fixture.complete_reads() > 0);
    let rest = rest + &read(&mut back).join("");
    assert!(rest.contains(r#""head":"5-0""#) && !rest.contains("4-0") && !rest.contains("data: 5"), "{rest}");
    assert!(rest.ends_with("id: 6-0\ndata: 6\n\n"), "{rest}");
}

/// The reset does not depend on the time at which the connection breaks.
#[test]
fn missed_live_events_cause_a_reset_wherever_the_replay_breaks() {
    let fixture = fixture();
    (1..=3).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
    fixture.log.lock().live = LiveMark::Until(2);
    let _keeps_the_workspace = joined(&fixture);
    let mut first = resume(&fixture, "1-0");
    assert!(next(&mut first).is_pending());
    fixture.complete_reads();
    assert!(matches!(next(&mut first), Poll::Ready(Next::Joined(_))));
    assert!(matches!(next(&mut first), Poll::Ready(Next::Event(_))));
    let broken_at = position(&first);
    assert!(broken_at.starts_with("2-0~"), "{broken_at}");
    assert_eq!(read_all(&fixture, &mut resume(&fixture, &broken_at)), ["resumed", "3", "reset:live-events"]);
}

#[test]
fn client_that_missed_live_events_gets_a_reset() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    log_unannounced(&fixture, 2, "2");
    let _other = joined(&fixture);
    send_message(&fixture, "live");
    let mut back = resume(&fixture, "1-0");
    assert_eq!(read_all(&fixture, &mut back), ["resumed", "2", "reset:live-events", "live"]);
}

#[test]
fn a_first_connection_may_begin_in_the_past() {
    let fixture = fixture();
    for id in 1..=5 {
        log_unannounced(&fixture, id, &id.to_string());
    }
    let _other = joined(&fixture);
    let begin = |start| fixture.join(start);
    let mut newest = begin(Start::Newest { count: 2 });
    assert_eq!(read_all(&fixture, &mut newest), ["newest", "4", "5"]);
    let mut since = begin(Start::Since { milliseconds: 3 });
    assert_eq!(read_all(&fixture, &mut since), ["resumed", "3", "4", "5"]);
    let mut since_later = begin(Start::Since { milliseconds: 9 });
    assert_eq!(read_all(&fixture, &mut since_later), ["resumed"]);
    fixture.log.lock().trim(2);
    let mut too_early = begin(Start::Since { milliseconds: 2 });
    assert_eq!(read_all(&fixture, &mut too_early), ["unproven:trimmed"]);
    log(&fixture, 6, "6");
    for subscriber in [&mut newest, &mut since, &mut since_later, &mut too_early] {
        assert_eq!(read_short(subscriber), ["6"]);
    }
}

#[test]
fn a_log_that_cannot_be_reached_or_read() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let mut live = joined(&fixture);
    fixture.log.lock().failure = Some(LogError::Unavailable("away".to_owned()));
    let mut back = resume(&fixture, "0-7");
    assert_eq!(read_all(&fixture, &mut back), ["unavailable"], "a later attempt may succeed");
    fixture.log.lock().failure = Some(LogError::Unreadable("WRONGTYPE".to_owned()));
    let mut other = resume(&fixture, "0-8");
    assert_eq!(read_all(&fixture, &mut other), ["unproven:log-unreadable"]);
    log_unannounced(&fixture, 2, "2");
    log(&fixture, 3, "3");
    assert_eq!(
        read_all(&fixture, &mut live),
        ["reset:log-unreadable", "3"],
        "a gap that cannot be filled causes a reset"
    );
    log(&fixture, 4, "4");
    assert_eq!(read_short(&mut live), ["4"]);
}

/// The live part of a position is void once the node has released the workspace; the client gets a
/// reset.
#[test]
fn live_position_of_a_released_workspace_causes_a_reset() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    send_message(&fixture, "a");
    read(&mut subscriber);
    let seen = position(&subscriber);
    drop(subscriber);
    fixture.hub.sweep(Instant::now() + Duration::from_secs(60));
    let mut back = resume(&fixture, &seen);
    fixture.confirm();
    send_message(&fixture, "b");
    assert_eq!(read_all(&fixture, &mut back), ["resumed", "reset:live-events"]);
}

/// A subscriber that reads the log may be ahead of its node. If a failover loses just these
/// entries, the node does not notice.
#[test]
fn failover_that_loses_entries_read_ahead_causes_a_reset() {
    for reads_on_after_failover in [false, true] {
        let fixture = fixture();
        log_unannounced(&fixture, 1, "1");
        log_unannounced(&fixture, 2, "2");
        let _other = joined(&fixture);
        log_unannounced(&fixture, 5, "5");
        log_unannounced(&fixture, 8, "8");
        let mut subscriber = resume(&fixture, "1-0");
        if reads_on_after_failover {
            // It got the page and has read a part of it.
            assert!(next(&mut subscriber).is_pending());
            fixture.complete_reads();
            assert!(matches!(next(&mut subscriber), Poll::Ready(Next::Joined(Joined::Resumed { .. }))));
        } else {
            assert_eq!(read_all(&fixture, &mut subscriber), ["resumed", "2", "5", "8"]);
        }
        fixture.hub.interrupted();
        fixture.log.lock().roll_back(2);
        fixture.confirm();
        // The clock of the new server is behind.
        log(&fixture, 3, "3");
        let got = read_all(&fixture, &mut subscriber);
        let expected = if reads_on_after_failover {
            vec!["2", "5", "8", "reset:rolled-back"]
        } else {
            vec!["reset:rolled-back"]
        };
        assert_eq!(got, expected);
        log(&fixture, 4, "4");
        assert_eq!(read_all(&fixture, &mut subscriber), ["4"]);
    }
}

#[test]
fn start_in_an_empty_log_misses_no_event_after_connected() {
    for start in [Start::Since { milliseconds: 1 }, Start::Newest { count: 3 }] {
        let fixture = fixture();
        let mut subscriber = fixture.join(start.clone());
        fixture.confirm();
        assert!(next(&mut subscriber).is_pending());
        fixture.complete_reads();
        assert!(matches!(next(&mut subscriber), Poll::Ready(Next::Joined(_))));
        log(&fixture, 7, "after connected");
        assert_eq!(read_all(&fixture, &mut subscriber), ["after connected"], "{start:?}");
    }
}

/// A client that resumes across an interruption gets a reset too.
#[test]
fn client_that_resumes_across_an_interruption_gets_a_reset() {
    let fixture = fixture();
    let subscriber = joined(&fixture);
    let seen = position(&subscriber);
    drop(subscriber);
    fixture.hub.interrupted();
    fixture.confirm();
    let mut back = resume(&fixture, &seen);
    assert_eq!(read_short(&mut back), ["resumed", "reset:interrupted"]);
}

#[test]
fn kept_empty_page_hides_no_later_event() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let _keeps_the_workspace = joined(&fixture);
    let since = || fixture.join(Start::Since { milliseconds: 5 });
    let mut first = since();
    assert_eq!(read_all(&fixture, &mut first), ["resumed"]);
    log(&fixture, 7, "7");
    let mut second = since();
    assert_eq!(read_all(&fixture, &mut second), ["resumed", "7"]);
    let mut newest = fixture.join(Start::Newest { count: 1 });
    assert_eq!(read_all(&fixture, &mut newest), ["newest", "7"]);
}

#[test]
fn reset_is_repeated_for_clients_that_resume_before_it() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    assert_eq!(read_short(&mut subscriber), ["5"]);
    send_message(&fixture, "tidings/1 nonsense");
    log(&fixture, 6, "6");
    let mut back = resume(&fixture, "5-0");
    assert_eq!(read_short(&mut back), ["resumed", "reset:bad-envelope", "6"]);
}

/// The workspace was released and created again during a read, whose result is older than the
/// subscription.
#[test]
fn outdated_read_hides_no_event_from_a_new_workspace() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    log_unannounced(&fixture, 2, "2");
    drop(joined(&fixture));
    let keeps_the_workspace = joined(&fixture);
    let mut first = fixture.join(Start::Since { milliseconds: 5 });
    assert_eq!(next(&mut first), Poll::Pending);
    let read = fixture.hub.read_queue().take().unwrap();
    let stale = fixture.log.lock().read(read.span, 3);
    drop((first, keeps_the_workspace));
    assert_eq!(fixture.hub.sweep(Instant::now() + Duration::from_secs(60)), 1);
    log_unannounced(&fixture, 7, "7");
    let _keeps_the_next = joined(&fixture);
    let mut second = fixture.join(Start::Since { milliseconds: 5 });
    assert_eq!(next(&mut second), Poll::Pending);
    fixture.hub.answer(&read, stale);
    assert_eq!(read_all(&fixture, &mut second), ["resumed", "7"]);
}
