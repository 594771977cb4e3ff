use super::*;
use prometheus_client::metrics::gauge::Gauge;
use proptest::prelude::*;
use tidings_event::EntryId;
use tidings_event::control::ResetReason;

fn position(number: u64) -> Position {
    Position::logged(EntryId { milliseconds: number, sequence: 0 })
}

fn ring(events_max: usize, bytes_max: usize, count: u64) -> Ring {
    filled(Ring::new(position(0), events_max, bytes_max, budget(usize::MAX)), count)
}

fn budget(most: usize) -> Arc<RingBudget> {
    Arc::new(RingBudget::new(Gauge::default(), most))
}

fn filled(mut ring: Ring, count: u64) -> Ring {
    for number in 1..=count {
        ring.push(Frame::application(position(number), "x"));
    }
    ring
}

#[test]
fn an_empty_ring_knows_where_it_begins() {
    let ring = ring(3, 10_000, 0);
    assert_eq!(ring.head(), 0);
    assert_eq!(ring.head_position(), position(0));
    assert_eq!(ring.cursor_after(&position(0)), Some(0));
    assert_eq!(ring.cursor_after(&position(1)), None);
    assert!(matches!(ring.at(0), RingEntry::Head));
}

#[test]
fn the_oldest_fall_out() {
    let ring = ring(3, 10_000, 5);
    assert_eq!(ring.head(), 5);
    assert!(matches!(ring.at(1), RingEntry::FallenOut));
    assert!(matches!(ring.at(2), RingEntry::Frame(frame) if *frame.position() == position(3)));
    assert_eq!(ring.cursor_after(&position(1)), None);
    assert_eq!(ring.cursor_after(&position(2)), Some(2));
    assert_eq!(ring.cursor_after(&position(5)), Some(5));
}

#[test]
fn bytes_bound_the_ring_but_never_empty_it() {
    assert_eq!(ring(100, 3 * (FRAME_OVERHEAD_BYTES + 20), 10).frames.len(), 3);
    assert_eq!(ring(100, 1, 10).frames.len(), 1);
}

/// All rings share one limit, and the ring that grows drops its own frames.
#[test]
fn only_a_growing_ring_drops_frames_at_the_shared_limit() {
    let cost = cost(&Frame::application(position(1), "x"));
    let budget = budget(5 * cost);
    let ring = |count| filled(Ring::new(position(0), 100, 10_000, Arc::clone(&budget)), count);
    let (quiet, busy) = (ring(3), ring(9));
    assert_eq!((quiet.frames.len(), busy.frames.len()), (3, 2));
    assert_eq!(busy.head(), 9);
    let late = ring(4);
    assert_eq!(late.frames.len(), 1, "the newest always stays");
    assert!(budget.is_exceeded());
    drop(quiet);
    drop(late);
    assert!(!budget.lacks(3 * cost) && budget.lacks(3 * cost + 1), "what is dropped is given back");
    assert_eq!(filled(busy, 3).frames.len(), 5);
}

/// The log went back to a position: a client at that position may not have received the reset
/// there.
#[test]
fn a_reset_proves_nothing_about_its_place() {
    let reset = |number| Frame::reset(ResetReason::Trimmed, None, position(number));
    let mut ring = ring(3, 10_000, 5);
    ring.push(reset(1));
    let cursor = ring.cursor_after(&position(1)).unwrap();
    assert!(
        matches!(ring.at(cursor), RingEntry::Frame(frame) if !frame.is_application()),
        "the reset is given again"
    );
    assert_eq!(ring.head_position(), position(1));

    ring.push(reset(5));
    assert_eq!(ring.cursor_after(&position(5)), Some(5), "the event at that place comes first");
    ring.push(Frame::application(position(6), "x"));
    ring.push(Frame::application(position(7), "x"));
    // The reset at 1 was dropped, so a client at 1 cannot resume.
    assert_eq!(ring.cursor_after(&position(1)), None);
}

proptest! {
    /// A follower reads some frames from time to time while frames arrive.
    #[test]
    fn unread_frames_of_followers_are_kept_up_to_hard_limits(
        steps in proptest::collection::vec((0u64..30, 0u64..30), 1..40),
    ) {
        const EVENTS: u64 = 4;
        let mut ring = ring(EVENTS as usize, usize::MAX, 0);
        let (mut pushed, mut cursor) = (0, 0);
        let follower = ring.follow(cursor);
        for (push, read) in steps {
            (pushed + 1..=pushed + push)
                .for_each(|number| ring.push(Frame::application(position(number), "x")));
            pushed += push;
            let unread = pushed - cursor;
            let bound = if unread > EVENTS { unread.min(EVENTS * HARD_EVENTS as u64) } else { EVENTS };
            prop_assert_eq!(ring.frames.len() as u64, pushed.min(bound));
            if matches!(ring.at(cursor), RingEntry::FallenOut) {
                prop_assert!(unread > EVENTS * HARD_EVENTS as u64);
                break;
            }
            cursor = (cursor + read).min(pushed);
            ring.follower_moved(follower, cursor);
        }
        ring.unfollow(follower);
        prop_assert!(ring.frames.len() as u64 <= EVENTS);
    }

    /// A reader of the ring gets every frame in order, or is overtaken.
    #[test]
    fn a_reader_gets_everything_in_order_or_falls_out(
        events_max in 1usize..6, count in 0u64..20, start in 0u64..20,
    ) {
        let ring = ring(events_max, usize::MAX, count);
        prop_assert!(ring.frames.len() <= events_max);
        prop_assert_eq!(ring.share.bytes(), ring.frames.iter().map(|frame| cost(frame)).sum::<usize>());
        if let Some(mut cursor) = ring.cursor_after(&position(start)) {
            let mut expected = start + 1;
            while let RingEntry::Frame(frame) = ring.at(cursor) {
                prop_assert_eq!(frame.position(), &position(expected));
                expected += 1;
                cursor += 1;
            }
            prop_assert_eq!(expected, count + 1);
        } else {
            prop_assert!(start > count || start + (events_max as u64) < count);
        }
    }
}
