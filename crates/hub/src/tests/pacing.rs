//! Events beyond the rate limit.

use std::sync::atomic::AtomicU64;

use super::*;

/// Two events per second, so four at once; the clock advances only in `wait`.
fn limited() -> (Fixture, Arc<AtomicU64>) {
    let settings = HubSettings { rates: Rates::new(2, 0), ring_events: 30, ..settings() };
    let now = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&now);
    let clock = Clock::new(move || Duration::from_millis(read.load(Ordering::SeqCst)));
    let (desired_subscriptions, metrics) =
        (Arc::new(DesiredSubscriptions::default()), Arc::new(Metrics::new()));
    let hub = Hub::with_clock(
        NodeId::random(),
        settings,
        Arc::clone(&desired_subscriptions),
        Arc::clone(&metrics),
        clock,
    );
    (Fixture { hub, desired_subscriptions, metrics, log: Mutex::default() }, now)
}

fn wait(now: &AtomicU64, milliseconds: u64) {
    now.fetch_add(milliseconds, Ordering::SeqCst);
}

#[test]
fn new_rates_hold_for_open_workspaces_and_later_ones() {
    let (fixture, now) = limited();
    let mut subscriber = joined(&fixture);
    for id in 1..=6 {
        log(&fixture, id, &id.to_string());
    }
    assert_eq!(read_short(&mut subscriber), ["1", "2", "3", "4"]);
    // Without a limit the reset for the dropped events is still due.
    fixture.hub.set_rates(Rates::default());
    for id in 7..=20 {
        log(&fixture, id, &id.to_string());
    }
    assert_eq!(read_short(&mut subscriber)[0], "reset:rate-limited");
    // A workspace without a limit gets one.
    wait(&now, 5_000);
    fixture.hub.set_rates(Rates::new(1, 0));
    for id in 21..=25 {
        log(&fixture, id, &id.to_string());
    }
    assert_eq!(read_short(&mut subscriber), ["21", "22"]);
}

#[test]
fn reset_for_dropped_events_precedes_later_events() {
    let (fixture, now) = limited();
    let mut subscriber = joined(&fixture);
    for id in 1..=6 {
        log(&fixture, id, &id.to_string());
    }
    send_message(&fixture, "live");
    assert_eq!(read_short(&mut subscriber), ["1", "2", "3", "4"]);
    assert_eq!(fixture.metrics.dropped(ResetReason::RateLimited.as_str()), 3);
    wait(&now, 500);
    log(&fixture, 7, "7");
    let reset = read(&mut subscriber).remove(0);
    assert!(reset.contains("\"from\":\"4-0\"") && reset.contains("\"head\":\"6-0\""), "{reset}");
    assert_eq!(position(&subscriber), "7-0");

    // The next reset may come a second after the last one. Until then no event passes, although the
    // bucket fills.
    send_message(&fixture, "too much");
    wait(&now, 999);
    log(&fixture, 8, "8");
    assert_eq!(fixture.hub.sweep(Instant::now()), 0);
    assert!(read(&mut subscriber).is_empty());
    wait(&now, 1);
    log(&fixture, 9, "9");
    assert_eq!(read_short(&mut subscriber), ["reset:rate-limited", "9"]);
    assert_eq!(fixture.metrics.resets(ResetReason::RateLimited.as_str()), 2);

    // The dropped events are in the log, and a replay from there is complete.
    let mut back = resume(&fixture, "5-0");
    let got = read_all(&fixture, &mut back);
    assert_eq!(got, ["resumed", "6", "7", "8", "reset:live-events", "reset:rate-limited", "9"]);
}

#[test]
fn sweep_sends_the_reset_when_no_event_follows() {
    let (fixture, now) = limited();
    let mut subscriber = joined(&fixture);
    for number in 0..5 {
        send_message(&fixture, &number.to_string());
    }
    assert_eq!(read_short(&mut subscriber), ["0", "1", "2", "3"]);
    fixture.hub.sweep(Instant::now());
    assert_eq!(read_short(&mut subscriber), ["reset:rate-limited"]);
    send_message(&fixture, "dropped too");
    wait(&now, 300);
    fixture.hub.sweep(Instant::now());
    assert!(read_short(&mut subscriber).is_empty(), "the last reset was less than a second ago");
    wait(&now, 700);
    fixture.hub.sweep(Instant::now());
    assert_eq!(read_short(&mut subscriber), ["reset:rate-limited"]);
    fixture.hub.sweep(Instant::now());
    assert!(read_short(&mut subscriber).is_empty());
}

#[test]
fn empty_messages_are_rate_limited_and_recoveries_are_not() {
    let (fixture, now) = limited();
    let mut subscriber = joined(&fixture);
    (1..=10).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
    send_message(&fixture, "");
    assert_eq!(read_all(&fixture, &mut subscriber), ["1", "2", "3", "4"]);
    fixture.hub.interrupted();
    (11..=20).for_each(|id| log_unannounced(&fixture, id, &id.to_string()));
    fixture.hub.confirmed(&acme());
    let expected: Vec<_> = (11..=20).map(|id| id.to_string()).collect();
    let got = read_all(&fixture, &mut subscriber);
    assert_eq!((got[0].as_str(), &got[1..]), ("reset:rate-limited", &expected[..]));
    // A gap is filled too; the event behind it is subject to the limit.
    wait(&now, 500);
    log_unannounced(&fixture, 21, "21");
    log_unannounced(&fixture, 22, "22");
    log(&fixture, 23, "23");
    assert_eq!(read_all(&fixture, &mut subscriber), ["21", "22", "23"]);
}

/// The log had nothing after a dropped event when it was read; the ring no longer has the events
/// since then.
#[test]
fn page_that_the_ring_has_outrun_is_read_again() {
    let (fixture, now) = limited();
    let _keeps_the_workspace = joined(&fixture);
    (1..=5).for_each(|id| log(&fixture, id, &id.to_string()));
    assert_eq!(read_all(&fixture, &mut resume(&fixture, "5-0")), ["resumed"]);
    for id in 6..40 {
        wait(&now, 1000);
        log(&fixture, id, &id.to_string());
    }
    let mut back = resume(&fixture, "5-0");
    let got = read_all(&fixture, &mut back);
    assert_eq!((got.len(), got.last().map(String::as_str)), (35, Some("39")), "{got:?}");
}

#[test]
fn invalid_messages_are_rate_limited() {
    let (fixture, _) = limited();
    let mut subscriber = joined(&fixture);
    for _ in 0..10 {
        send_message(&fixture, "tidings/1 x");
    }
    assert_eq!(read_short(&mut subscriber), ["reset:bad-envelope"]);
    assert_eq!(fixture.metrics.dropped(ResetReason::BadEnvelope.as_str()), 4);
    fixture.hub.sweep(Instant::now());
    assert_eq!(read_short(&mut subscriber), ["reset:rate-limited", "reset:bad-envelope"]);
}
