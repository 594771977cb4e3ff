//! The verdict can fail on live events, on several publishers, and on logs that begin again:
//! ledgers with false entries.

use std::time::Duration;

use crate::ledger::records::{
    Attempt, ClientTrace, EntryId, Kind, Outcome, Place, Records, Seen, Sighting, Tag,
};
use crate::ledger::verdict::{Sums, Verdict};

/// Of each publisher, every third of them live.
const EVENTS: u64 = 12;

fn tag(publisher: usize, number: u64) -> Tag {
    Tag { publisher, number }
}

fn kind(number: u64) -> Kind {
    if number.is_multiple_of(3) { Kind::Live } else { Kind::Durable }
}

/// The second publisher is half a second behind the first.
fn began(tag: Tag) -> Duration {
    Duration::from_secs(tag.number)
        + Duration::from_millis(500) * u32::try_from(tag.publisher).expect("a small number")
}

/// A live event is behind the last durable one of its publisher, which is good enough here.
fn place(tag: Tag) -> Place {
    let entry = |number: u64| EntryId(number * 10, tag.publisher as u64);
    match kind(tag.number) {
        Kind::Durable => entry(tag.number).into(),
        Kind::Live => {
            let entry = entry(tag.number - 1);
            Place { text: format!("{entry}~node.{}", tag.number), entry }
        }
    }
}

fn sighting(at: Duration, what: Seen) -> Sighting {
    Sighting { at, what }
}

fn event(tag: Tag) -> Sighting {
    sighting(began(tag) + Duration::from_millis(200), Seen::Event { place: place(tag), tag })
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn reset(at: f64, reason: &str, from: Place, head: Place) -> Sighting {
    sighting(seconds(at), Seen::Reset { reason: reason.to_owned(), from: Some(from), head })
}

/// A reset whose span begins behind an event of the first publisher, and is empty.
fn told(at: f64, reason: &str, behind: u64) -> Sighting {
    let place = place(tag(0, behind));
    reset(at, reason, place.clone(), place)
}

fn whole(publishers: usize) -> Records {
    let mut tags: Vec<_> = (1..=EVENTS)
        .flat_map(|number| (0..publishers).map(move |publisher| tag(publisher, number)))
        .collect();
    tags.sort_by_key(|tag| began(*tag));
    let attempt = |tag: &Tag| Attempt {
        tag: *tag,
        kind: kind(tag.number),
        began: began(*tag),
        ended: began(*tag) + Duration::from_millis(100),
        outcome: match kind(tag.number) {
            Kind::Durable => Outcome::Acknowledged(place(*tag).entry),
            Kind::Live => Outcome::Heard(1),
        },
    };
    let connected = sighting(seconds(0.1), Seen::Connected { position: Some(EntryId(0, 0).into()) });
    let sightings = std::iter::once(connected).chain(tags.iter().map(|tag| event(*tag))).collect();
    let trace = ClientTrace { client: "a".to_owned(), sightings };
    Records { attempts: tags.iter().map(attempt).collect(), traces: vec![trace], ..Records::default() }
}

fn judge(change: impl FnOnce(&mut Vec<Sighting>)) -> Verdict {
    let mut book = whole(1);
    change(&mut book.traces[0].sightings);
    Verdict::of([&book])
}

/// Of live events: received, covered, duplicates, disorder, lost.
fn live(verdict: &Verdict) -> [u64; 5] {
    let Sums { received, covered, duplicates, disorder, lost, .. } = verdict.live;
    [received, covered, duplicates, disorder, lost]
}

/// With the live events 3 and 6 missing; the trace index of each event is its number as long as
/// nothing is removed.
fn without_two(told: Vec<(usize, Sighting)>) -> [u64; 5] {
    let verdict = judge(|trace| {
        for (index, sighting) in told.into_iter().rev() {
            trace.insert(index, sighting);
        }
        trace.retain(|sighting| !matches!(sighting.what, Seen::Event { tag: Tag { number: 3 | 6, .. }, .. }));
    });
    assert_eq!(verdict.durable.lost, 0, "{verdict:?}");
    live(&verdict)
}

#[test]
fn a_whole_mixed_ledger_is_clean() {
    let verdict = judge(|_| {});
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!((verdict.live.published, verdict.live.acknowledged), (4, 4));
    assert_eq!(live(&verdict), [4, 0, 0, 0, 0]);
    assert_eq!(verdict.durable.received, 8);
    assert!(Verdict::of([&whole(3)]).is_clean());
}

#[test]
fn a_live_event_that_is_dropped_is_lost() {
    let verdict = judge(|trace| drop(trace.remove(3)));
    assert!(!verdict.is_clean());
    assert_eq!(live(&verdict), [3, 0, 0, 0, 1]);
    assert!(verdict.problems[0].contains("live number 3"), "{verdict:?}");
    assert_eq!(live(&judge(|trace| drop(trace.pop()))), [3, 0, 0, 0, 1], "the last one too");
}

#[test]
fn a_live_event_that_no_node_heard_is_not_promised() {
    for (outcome, lost) in [(Outcome::Heard(0), 0), (Outcome::Unknown, 0), (Outcome::Heard(2), 1)] {
        let mut book = whole(1);
        book.attempts[2].outcome = outcome;
        book.traces[0].sightings.remove(3);
        assert_eq!(Verdict::of([&book]).live.lost, lost, "{outcome:?}");
    }
}

#[test]
fn live_event_before_the_first_connected_event_is_not_promised() {
    let verdict = judge(|trace| {
        trace.drain(1..=3);
        trace[0] = sighting(seconds(3.15), Seen::Connected { position: Some(place(tag(0, 2))) });
    });
    assert!(verdict.is_clean(), "{verdict:?}");
}

#[test]
fn any_reset_before_the_next_event_covers_a_live_event() {
    for reason in ["interrupted", "live-events", "unknown-position", "overflow", "trimmed", "too-large"] {
        assert_eq!(without_two(vec![(4, told(3.5, reason, 2)), (7, told(6.5, reason, 5))]), [2, 2, 0, 0, 0]);
        assert_eq!(without_two(vec![(4, told(3.5, reason, 2))]), [2, 1, 0, 0, 1], "{reason}");
    }
}

#[test]
fn reset_before_a_live_event_does_not_cover_it() {
    assert_eq!(without_two(vec![(3, told(2.9, "interrupted", 2))]), [2, 0, 0, 0, 2]);
}

#[test]
fn later_reset_covers_a_live_event_in_its_span_only() {
    let told_at_8 = |from: Place| {
        let connecting = sighting(seconds(8.4), Seen::Connecting { after: Some(place(tag(0, 8))) });
        let told = reset(8.5, "unknown-position", from, place(tag(0, 8)));
        without_two(vec![(9, connecting), (9, told)])
    };
    assert_eq!(told_at_8(place(tag(0, 2))), [2, 2, 0, 0, 0]);
    assert_eq!(told_at_8(place(tag(0, 4))), [2, 1, 0, 0, 1]);
    assert_eq!(told_at_8(place(tag(0, 7))), [2, 0, 0, 0, 2]);
    // A place that the client never had counts by its entry.
    let unknown = |entry: EntryId| Place { text: format!("{entry}~other.1"), entry };
    assert_eq!(told_at_8(unknown(EntryId(20, 0))), [2, 2, 0, 0, 0]);
    assert_eq!(told_at_8(unknown(EntryId(40, 0))), [2, 1, 0, 0, 1]);
    assert_eq!(told_at_8(unknown(EntryId(80, 0))), [2, 0, 0, 0, 2]);
}

#[test]
fn reset_of_an_interruption_may_follow_logged_events() {
    let told_at =
        |index: usize, at: f64| without_two(vec![(index, told(at, "interrupted", index as u64 - 1))]);
    assert_eq!(told_at(9, 8.5), [2, 2, 0, 0, 0]);
    assert_eq!(told_at(12, 11.5), [2, 1, 0, 0, 1], "the 4th came more than 6 s before");
}

#[test]
fn reset_of_live_events_may_be_seconds_late() {
    let late =
        |at: f64, behind: u64| vec![(usize::try_from(behind).unwrap() + 1, told(at, "live-events", behind))];
    assert_eq!(without_two(late(8.5, 8)), [2, 2, 0, 0, 0]);
    assert_eq!(without_two(late(11.5, 11)), [2, 1, 0, 0, 1], "the 4th came more than 6 s before");
    // Time without a connection does not count.
    let mut told = late(11.5, 11);
    told.insert(0, (5, sighting(seconds(4.3), Seen::Disconnected)));
    told.insert(1, (8, sighting(seconds(7.3), Seen::Connected { position: None })));
    assert_eq!(without_two(told), [2, 2, 0, 0, 0]);
}

#[test]
fn a_live_event_twice_is_a_duplicate() {
    let verdict = judge(|trace| trace.insert(5, event(tag(0, 3))));
    assert_eq!(live(&verdict), [4, 0, 1, 0, 0]);
    assert!(!verdict.is_clean());
}

#[test]
fn live_events_begin_again_behind_a_reset() {
    let behind = |reason: &str, more: Vec<Sighting>| {
        judge(|trace| drop(trace.splice(5..5, std::iter::once(told(4.5, reason, 4)).chain(more))))
    };
    let verdict = behind("live-events", vec![event(tag(0, 3))]);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!((live(&verdict), verdict.live.again), ([4, 0, 0, 0, 0], 1));
    // Once, that is, and durable ones do not.
    let verdict = behind("live-events", vec![event(tag(0, 3)), event(tag(0, 3))]);
    assert_eq!(live(&verdict), [4, 0, 1, 0, 0]);
    let verdict = behind("live-events", vec![event(tag(0, 4))]);
    assert_eq!(verdict.durable.duplicates, 1, "{verdict:?}");
}

#[test]
fn live_event_of_a_killed_node_is_not_promised() {
    for (outcome, death, lost) in [
        (Outcome::Heard(1), (2.9, 3.05), 0),
        (Outcome::Heard(1), (3.05, 3.5), 0),
        (Outcome::Heard(1), (3.2, 3.5), 1),
        (Outcome::Heard(1), (2.5, 2.9), 1),
        (Outcome::Heard(2), (2.9, 3.05), 1),
    ] {
        let mut book = whole(1);
        book.deaths.push((seconds(death.0), seconds(death.1)));
        book.attempts[2].outcome = outcome;
        book.traces[0].sightings.remove(3);
        assert_eq!(Verdict::of([&book]).live.lost, lost, "{outcome:?} {death:?}");
    }
}

#[test]
fn one_publishers_events_out_of_order_are_disorder() {
    // A live event behind the durable one that was published after it, and before the one that came
    // first.
    for (at, with) in [(3, 4), (2, 3)] {
        let verdict = judge(|trace| trace.swap(at, with));
        assert!(!verdict.is_clean());
        assert_eq!(live(&verdict)[3], 1, "{verdict:?}");
        assert_eq!(verdict.durable.disorder, 0, "{verdict:?}");
    }
    let verdict = judge(|trace| trace.swap(1, 2));
    assert_eq!((verdict.durable.disorder, live(&verdict)[3]), (1, 0), "{verdict:?}");
}

#[test]
fn publishers_are_judged_by_log_and_numbers() {
    let swapped = |one: Tag, other: Tag| {
        let mut book = whole(2);
        let index = |book: &Records, wanted: Tag| {
            let of = |sighting: &Sighting| matches!(sighting.what, Seen::Event { tag, .. } if tag == wanted);
            book.traces[0].sightings.iter().position(of).unwrap()
        };
        let (one, other) = (index(&book, one), index(&book, other));
        book.traces[0].sightings.swap(one, other);
        Verdict::of([&book])
    };
    // Neither is before the other in a log.
    assert!(swapped(tag(0, 3), tag(1, 3)).is_clean());
    // Both are in the log.
    let verdict = swapped(tag(0, 4), tag(1, 4));
    assert_eq!(verdict.durable.disorder, 1, "{verdict:?}");
    // One that is missing to a client is missed, whatever came of the same number of another.
    let mut book = whole(2);
    book.traces[0].sightings.retain(|sighting| {
        !matches!(sighting.what, Seen::Event { tag: Tag { publisher: 1, number: 3 | 4 }, .. })
    });
    let verdict = Verdict::of([&book]);
    assert_eq!((verdict.durable.lost, verdict.live.lost), (1, 1), "{verdict:?}");
}

#[test]
fn a_head_before_the_place_of_the_client_is_disorder() {
    let told = |reason: &str, head: u64| {
        judge(|trace| trace.insert(8, reset(8.0, reason, place(tag(0, 7)), place(tag(0, head)))))
            .durable
            .disorder
    };
    assert_eq!(told("unknown-position", 5), 1);
    assert_eq!(told("unknown-position", 7), 0);
    assert_eq!(told("rolled-back", 5), 0, "a log may lose its end");
}

#[test]
fn event_without_a_publication_is_a_problem() {
    let verdict = judge(|trace| {
        trace.push(sighting(seconds(13.0), Seen::Event { place: EntryId(999, 0).into(), tag: tag(7, 1) }));
    });
    assert!(!verdict.is_clean());
}

#[test]
fn live_events_need_resets_in_mixed_workspaces_only() {
    let judge_durable = |reason: &str, may_count_as_mixed: bool| {
        let mut book = whole(1);
        book.may_count_as_mixed = may_count_as_mixed;
        book.attempts.retain(|attempt| attempt.kind == Kind::Durable);
        let sightings = &mut book.traces[0].sightings;
        sightings.retain(
            |sighting| !matches!(sighting.what, Seen::Event { tag, .. } if kind(tag.number) == Kind::Live),
        );
        sightings.push(told(12.5, reason, 11));
        Verdict::of([&book])
    };
    assert!(!judge_durable("live-events", false).is_clean());
    assert!(judge_durable("live-events", true).is_clean());
    assert!(judge_durable("interrupted", false).is_clean());
}

/// One publisher without live events; the ids of the events from the 6th on begin again below the
/// others.
fn begun_again() -> Records {
    let mut book = whole(1);
    book.attempts.retain(|attempt| attempt.kind == Kind::Durable);
    book.traces[0].sightings.retain(
        |sighting| !matches!(sighting.what, Seen::Event { tag, .. } if kind(tag.number) == Kind::Live),
    );
    let ahead = |id: EntryId| EntryId(id.0 + 1_000, id.1);
    for attempt in book.attempts.iter_mut().filter(|attempt| attempt.tag.number < 6) {
        if let Outcome::Acknowledged(id) = &mut attempt.outcome {
            *id = ahead(*id);
        }
    }
    for sighting in &mut book.traces[0].sightings {
        if let Seen::Event { place, tag } = &mut sighting.what
            && tag.number < 6
        {
            *place = ahead(place.entry).into();
        }
    }
    book
}

#[test]
fn log_that_begins_again_continues_with_lower_ids() {
    let book = begun_again();
    let verdict = Verdict::of([&book]);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(verdict.durable.received, 8);
    // Its first event, the 7th, is promised like any other.
    let mut book = begun_again();
    book.traces[0].sightings.remove(5);
    assert_eq!(Verdict::of([&book]).durable.lost, 1);
    // Back to the old ids it does not go.
    let mut book = begun_again();
    book.traces[0].sightings.swap(4, 5);
    assert_eq!(Verdict::of([&book]).durable.disorder, 1);
}

#[test]
fn reset_covers_both_sides_of_a_new_epoch() {
    // Away from the 2nd on, the client reconnects at 8.5 s to a log that holds 7 and 8.
    let away = |head: u64, missing: std::ops::Range<usize>| {
        let mut book = begun_again();
        let from = EntryId(1_020, 0);
        let told = reset(8.5, "trimmed", from.into(), EntryId(head, 0).into());
        drop(book.traces[0].sightings.splice(missing, [told]));
        let verdict = Verdict::of([&book]);
        (verdict.durable.covered, verdict.durable.lost)
    };
    assert_eq!(away(80, 3..7), (4, 0));
    assert_eq!(away(70, 3..7), (3, 1));
    assert_eq!(away(80, 2..7), (4, 1), "the 2nd is before the span");
    assert_eq!(away(80, 3..8), (4, 1), "the 10th began later");
}
