use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

fn pace(events: usize, bytes: usize) -> (Pace, impl Fn(u64)) {
    let now = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&now);
    let clock = Clock::new(move || Duration::from_millis(read.load(Ordering::Relaxed)));
    let advance = move |milliseconds| {
        now.fetch_add(milliseconds, Ordering::Relaxed);
    };
    (Pace::new(Rates::new(events, bytes), &clock).unwrap(), advance)
}

fn admitted(pace: &Pace, bytes: usize) -> usize {
    (0..1000).take_while(|_| pace.admits(bytes)).count()
}

#[test]
fn burst_of_two_seconds_passes_and_then_the_rate() {
    let (pace, advance) = pace(10, 0);
    assert_eq!(admitted(&pace, 1), 20);
    advance(500);
    assert_eq!(admitted(&pace, 1), 5);
    advance(10_000);
    assert_eq!(admitted(&pace, 1), 20);
}

#[test]
fn bytes_count_as_well_and_one_event_always_fits() {
    let (pace, advance) = pace(100, 1000);
    assert_eq!(admitted(&pace, 300), 6);
    advance(10_000);
    assert!(pace.admits(1_000_000), "a full bucket is enough for whatever comes");
    assert!(!pace.admits(1));
    assert!(pace.admits(0));
}

#[test]
fn nothing_is_bounded_unless_it_is_configured() {
    assert!(Pace::new(Rates::default(), &Clock::default()).is_none());
}

/// A reset for dropped events goes out before any later event.
#[test]
fn no_event_passes_between_a_drop_and_its_reset() {
    let (mut pace, advance) = pace(10, 0);
    assert_eq!(admitted(&pace, 1), 20);
    pace.note_dropped(None);
    assert!(pace.is_due(), "the first reset may come at once");
    assert_eq!(pace.take_unreported(), Some(UnreportedLimit { position: None }));
    advance(400);
    let position = Position::logged("7-0".parse().unwrap());
    pace.note_dropped(Some(position));
    pace.note_dropped(None);
    assert!(!pace.admits(1) && !pace.is_due(), "the last reset was less than a second ago");
    advance(600);
    assert!(pace.is_due());
    assert_eq!(admitted(&pace, 1), 10, "the bucket has filled meanwhile");
    assert_eq!(pace.take_unreported(), Some(UnreportedLimit { position: Some(position) }));
    assert_eq!(pace.take_unreported(), None);
}
