use super::*;

const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

fn admitted(rate: &mut LineRate, now: Instant, lines: usize) -> usize {
    (0..lines).filter(|_| rate.admits(now)).count()
}

#[test]
fn calm_seconds_lose_no_line() {
    let start = Instant::now();
    let mut rate = LineRate::new(TWO, start);
    for second in 0..10 {
        assert_eq!(admitted(&mut rate, start + second * WINDOW, 2), 2);
    }
    assert_eq!(rate.take_left_out(), None);
}

#[test]
fn flood_has_lines_in_its_first_second_alone() {
    let start = Instant::now();
    let mut rate = LineRate::new(TWO, start);
    assert_eq!(admitted(&mut rate, start, 100), 2);
    assert_eq!(admitted(&mut rate, start + Duration::from_millis(999), 100), 0);
    for second in 1..5 {
        assert_eq!(admitted(&mut rate, start + second * WINDOW, 100), 0);
    }
    // The first calm second ends it.
    assert_eq!(admitted(&mut rate, start + 5 * WINDOW, 2), 0);
    assert_eq!(admitted(&mut rate, start + 6 * WINDOW, 2), 2);
    // So does a second without lines.
    assert_eq!(admitted(&mut rate, start + 7 * WINDOW, 100), 2);
    assert_eq!(admitted(&mut rate, start + 9 * WINDOW, 1), 1);
}

#[test]
fn lines_are_counted_once_by_reason() {
    let mut rate = LineRate::new(TWO, Instant::now());
    for (reason, lines) in [("draining", 2), ("client left", 3)] {
        (0..lines).for_each(|_| rate.leave_out(Some(reason)));
    }
    rate.leave_out(None);
    let left_out = rate.take_left_out().unwrap();
    assert_eq!(left_out.lines, 6);
    assert_eq!(left_out.reasons().unwrap(), "client left 3, draining 2");
    assert_eq!(rate.take_left_out(), None);
    rate.leave_out(None);
    assert_eq!(rate.take_left_out().unwrap().reasons(), None);
}

#[test]
fn reasons_are_bounded() {
    let mut rate = LineRate::new(TWO, Instant::now());
    for number in 0..1000 {
        rate.leave_out(Some(&format!("reason {number}")));
    }
    rate.leave_out(Some(&"x".repeat(REASON_BYTES_MAX + 1)));
    let left_out = rate.take_left_out().unwrap();
    assert_eq!(left_out.reasons.len(), REASONS_MAX + 1);
    assert_eq!(left_out.reasons[OTHERS], 1001 - REASONS_MAX as u64);
}
