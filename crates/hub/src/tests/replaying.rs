//! Coming back, and beginning in the past.

use super::*;

/// A position that the ring holds is resumed from the ring, in order and without a read.
#[test]
fn resuming_from_the_ring_brings_what_was_missed_in_order_without_reading_the_log() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    say(&fixture, "a");
    assert_eq!(read_short(&mut subscriber), ["a"]);
    let seen = position(&subscriber);
    drop(subscriber);
    say(&fixture, "b");
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
    assert_eq!(fixture.answer_reads(), 0);
}

/// A replay from the log continues in the ring without a gap and without a repetition.
#[test]
fn resuming_from_the_log_goes_over_into_the_ring_without_gap_or_repetition() {
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
fn a_log_that_is_ahead_of_the_channel_brings_nothing_twice() {
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
fn all_who_come_back_to_one_place_share_one_read() {
    let fixture = fixture();
    for id in 1..=3 {
        log_unannounced(&fixture, id, &id.to_string());
    }
    let _keeps_the_workspace = joined(&fixture);
    let mut crowd: Vec<_> = (0..1000).map(|_| resume(&fixture, "1-0")).collect();
    for subscriber in &mut crowd {
        assert_eq!(next(subscriber), Poll::Pending);
    }
    assert_eq!(fixture.answer_reads(), 1);
    for subscriber in &mut crowd {
        assert_eq!(read_short(subscriber), ["resumed", "2", "3"]);
    }
    let mut late = resume(&fixture, "1-0");
    assert_eq!(read_short(&mut late), ["resumed", "2", "3"]);
    assert_eq!(fixture.answer_reads(), 0);
}

/// A position that neither ring nor log proves leads to a reset, and the stream continues at the
/// head.
#[test]
fn a_position_that_cannot_be_proven_is_told_and_the_head_is_where_it_goes_on() {
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
    assert_eq!(read_short(&mut other), ["a"], "only the one who came back is told");
}

/// The position of an empty log names its next epoch, and only that one resumes it, on whatever node.
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

/// Retention ends the log, and a first event begins another: nothing proves what the former one held.
#[test]
fn log_begun_anew_proves_nothing_from_before_it() {
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

/// The clock was set right, and the new log gives out the ids of the former one again.
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

/// The node lags: another one has shown the client more of the log than this one was told of.
#[test]
fn live_position_of_another_node_resumes_its_log_part() {
    let fixture = fixture();
    (1..=3).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
    let mut stays = joined(&fixture);
    (4..=5).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
    fixture.log.lock().live = LiveMark::Until(5);
    let mut back = resume(&fixture, "4-0~abcdefgh.7");
    let got = read(&mut back).into_iter().chain({
        fixture.answer_reads();
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

/// The log does not hold the client's place, and the node was not told yet of what it does hold.
#[test]
fn head_of_a_reset_never_lies_before_the_end_of_the_log() {
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
    assert!(fixture.answer_reads() > 0);
    let rest = rest + &read(&mut back).join("");
    assert!(rest.contains(r#""head":"5-0""#) && !rest.contains("4-0") && !rest.contains("data: 5"), "{rest}");
    assert!(rest.ends_with("id: 6-0\ndata: 6\n\n"), "{rest}");
}

/// What is told does not depend on when the connection breaks.
#[test]
fn client_that_misses_live_events_is_told_wherever_its_replay_breaks() {
    let fixture = fixture();
    (1..=3).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
    fixture.log.lock().live = LiveMark::Until(2);
    let _keeps_the_workspace = joined(&fixture);
    let mut first = resume(&fixture, "1-0");
    assert!(next(&mut first).is_pending());
    fixture.answer_reads();
    assert!(matches!(next(&mut first), Poll::Ready(Next::Joined(_))));
    assert!(matches!(next(&mut first), Poll::Ready(Next::Event(_))));
    let broken_at = position(&first);
    assert!(broken_at.starts_with("2-0~"), "{broken_at}");
    assert_eq!(read_all(&fixture, &mut resume(&fixture, &broken_at)), ["resumed", "3", "reset:live-events"]);
}

#[test]
fn a_client_that_was_away_from_live_events_too_is_told() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    log_unannounced(&fixture, 2, "2");
    let _other = joined(&fixture);
    say(&fixture, "live");
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
    assert_eq!(read_all(&fixture, &mut back), ["unavailable"], "coming back later may help");
    fixture.log.lock().failure = Some(LogError::Unreadable("WRONGTYPE".to_owned()));
    let mut other = resume(&fixture, "0-8");
    assert_eq!(read_all(&fixture, &mut other), ["unproven:log-unreadable"]);
    log_unannounced(&fixture, 2, "2");
    log(&fixture, 3, "3");
    assert_eq!(
        read_all(&fixture, &mut live),
        ["reset:log-unreadable", "3"],
        "a gap that cannot be filled is told"
    );
    log(&fixture, 4, "4");
    assert_eq!(read_short(&mut live), ["4"]);
}

/// The live part of a position is void once the node has released the workspace; the client gets a
/// reset.
#[test]
fn live_position_of_a_workspace_given_up_is_told() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    say(&fixture, "a");
    read(&mut subscriber);
    let seen = position(&subscriber);
    drop(subscriber);
    fixture.hub.sweep(Instant::now() + Duration::from_secs(60));
    let mut back = resume(&fixture, &seen);
    fixture.confirm();
    say(&fixture, "b");
    assert_eq!(read_all(&fixture, &mut back), ["resumed", "reset:live-events"]);
}

/// A subscriber that reads the log may be ahead of what the node was told. If just that is lost in a failover, the node does
/// not notice.
#[test]
fn who_has_read_ahead_of_the_node_what_a_failover_loses_is_told() {
    for reads_on_after_failover in [false, true] {
        let fixture = fixture();
        log_unannounced(&fixture, 1, "1");
        log_unannounced(&fixture, 2, "2");
        let _other = joined(&fixture);
        log_unannounced(&fixture, 5, "5");
        log_unannounced(&fixture, 8, "8");
        let mut subscriber = resume(&fixture, "1-0");
        if reads_on_after_failover {
            // It has the page, and has read a part of it.
            assert!(next(&mut subscriber).is_pending());
            fixture.answer_reads();
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
        let told = if reads_on_after_failover {
            vec!["2", "5", "8", "reset:rolled-back"]
        } else {
            vec!["reset:rolled-back"]
        };
        assert_eq!(got, told);
        log(&fixture, 4, "4");
        assert_eq!(read_all(&fixture, &mut subscriber), ["4"]);
    }
}

#[test]
fn who_begins_in_the_past_of_an_empty_log_misses_nothing_after_the_hello() {
    for start in [Start::Since { milliseconds: 1 }, Start::Newest { count: 3 }] {
        let fixture = fixture();
        let mut subscriber = fixture.join(start.clone());
        fixture.confirm();
        assert!(next(&mut subscriber).is_pending());
        fixture.answer_reads();
        assert!(matches!(next(&mut subscriber), Poll::Ready(Next::Joined(_))));
        log(&fixture, 7, "after the hello");
        assert_eq!(read_all(&fixture, &mut subscriber), ["after the hello"], "{start:?}");
    }
}

/// A client that resumes across an interruption gets a reset too.
#[test]
fn who_resumes_across_an_interruption_is_told_too() {
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
fn an_empty_page_that_is_kept_hides_nothing_that_came_since() {
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
fn who_has_not_seen_a_reset_gets_it_after_resuming_at_the_event_before_it() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    assert_eq!(read_short(&mut subscriber), ["5"]);
    say(&fixture, "tidings/1 nonsense");
    log(&fixture, 6, "6");
    let mut back = resume(&fixture, "5-0");
    assert_eq!(read_short(&mut back), ["resumed", "reset:bad-envelope", "6"]);
}

/// The workspace was given up and has come back while a read was under way: what it brings is older than the subscription.
#[test]
fn an_answer_for_a_former_life_of_the_workspace_hides_nothing_from_the_next_one() {
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
