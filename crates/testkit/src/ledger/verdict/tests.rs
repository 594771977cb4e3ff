//! The verdict can fail: ledgers that were tampered with.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ledger::records::{Attempt, ClientTrace, EntryId, Kind, Outcome, Records, Seen, Sighting, Tag};
use crate::ledger::verdict::Verdict;

const EVENTS: u64 = 9;

fn id(number: u64) -> EntryId {
    EntryId(number * 10, 0)
}

fn at(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn sighting(moment: u64, what: Seen) -> Sighting {
    Sighting { at: at(moment) + Duration::from_millis(500), what }
}

fn tag(number: u64) -> Tag {
    Tag { publisher: 0, number }
}

fn event(number: u64) -> Sighting {
    event_at(number, id(number))
}

fn event_at(number: u64, id: EntryId) -> Sighting {
    sighting(number, Seen::Event { place: id.into(), tag: tag(number) })
}

fn reset(moment: u64, from: u64, head: u64) -> Sighting {
    let reason = "trimmed".to_owned();
    sighting(moment, Seen::Reset { reason, from: Some(id(from).into()), head: id(head).into() })
}

fn connecting(moment: u64, after: u64) -> Sighting {
    sighting(moment, Seen::Connecting { after: Some(id(after).into()) })
}

/// Nine events at the moments 1 to 9, and a client that got them all.
fn whole() -> Records {
    let attempts = (1..=EVENTS).map(|number| Attempt {
        tag: tag(number),
        kind: Kind::Durable,
        began: at(number),
        ended: at(number) + Duration::from_millis(100),
        outcome: Outcome::Acknowledged(id(number)),
    });
    let connected = sighting(0, Seen::Connected { position: Some(EntryId(0, 0).into()) });
    let sightings = std::iter::once(connected).chain((1..=EVENTS).map(event)).collect();
    let trace = ClientTrace { client: "a".to_owned(), sightings };
    Records { attempts: attempts.collect(), traces: vec![trace], ..Records::default() }
}

fn judge(change: impl FnOnce(&mut Vec<Sighting>)) -> Verdict {
    let mut book = whole();
    change(&mut book.traces[0].sightings);
    Verdict::of([&book])
}

/// The sums that matter: received, covered, rolled back, duplicates, disorder, lost.
fn sums(verdict: &Verdict) -> [u64; 6] {
    let sums = &verdict.durable;
    [sums.received, sums.covered, sums.rolled_back, sums.duplicates, sums.disorder, sums.lost]
}

#[test]
fn a_whole_ledger_is_clean() {
    let verdict = judge(|_| {});
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!((verdict.durable.published, verdict.durable.acknowledged), (9, 9));
    assert_eq!(sums(&verdict), [9, 0, 0, 0, 0, 0]);
}

#[test]
fn a_dropped_event_is_lost() {
    let verdict = judge(|trace| drop(trace.remove(4)));
    assert!(!verdict.is_clean());
    assert_eq!(sums(&verdict), [8, 0, 0, 0, 0, 1]);
    assert!(verdict.problems[0].contains("number 4"), "{verdict:?}");
}

#[test]
fn the_last_event_is_missed_too() {
    assert_eq!(sums(&judge(|trace| drop(trace.pop()))), [8, 0, 0, 0, 0, 1]);
}

#[test]
fn an_event_twice_is_a_duplicate() {
    assert_eq!(sums(&judge(|trace| trace.insert(5, event(4)))), [9, 0, 0, 1, 0, 0]);
    // Also after a reconnect, where the client named the place after it.
    let verdict = judge(|trace| drop(trace.splice(5..5, [connecting(4, 4), event(4)])));
    assert_eq!(sums(&verdict), [9, 0, 0, 1, 0, 0]);
}

#[test]
fn client_that_asks_for_the_past_gets_it_again() {
    let verdict = judge(|trace| drop(trace.splice(5..5, [connecting(4, 2), event(3), event(4)])));
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(sums(&verdict), [9, 0, 0, 0, 0, 0]);
}

#[test]
fn a_swapped_pair_is_disorder() {
    let verdict = judge(|trace| trace.swap(4, 5));
    assert!(!verdict.is_clean());
    assert_eq!(verdict.durable.disorder, 1, "{verdict:?}");
}

#[test]
fn an_event_at_another_place_than_was_acknowledged_is_disorder() {
    let verdict = judge(|trace| {
        trace[4] = event_at(4, EntryId(41, 0));
    });
    assert_eq!(verdict.durable.disorder, 1, "{verdict:?}");
}

#[test]
fn a_number_at_two_places_was_published_twice() {
    let verdict = judge(|trace| {
        trace.insert(5, event_at(4, EntryId(41, 0)));
    });
    assert_eq!(verdict.durable.duplicates + verdict.durable.disorder, 1, "{verdict:?}");
}

#[test]
fn a_reset_covers_its_span_and_no_more() {
    // The events 4, 5 and 6 are missing.
    let with = |told: Sighting| sums(&judge(|trace| drop(trace.splice(4..7, [told]))));
    assert_eq!(with(reset(6, 3, 6)), [6, 3, 0, 0, 0, 0]);
    assert_eq!(with(reset(6, 4, 6)), [6, 2, 0, 0, 0, 1]);
    assert_eq!(with(reset(6, 3, 5)), [6, 2, 0, 0, 0, 1]);
    assert_eq!(with(reset(6, 3, 3)), [6, 0, 0, 0, 0, 3]);
}

#[test]
fn a_reset_covers_nothing_that_was_published_after_it() {
    let verdict = judge(|trace| drop(trace.splice(4..7, [reset(4, 3, 6)])));
    assert_eq!(sums(&verdict), [6, 1, 0, 0, 0, 2]);
}

#[test]
fn publication_before_the_first_connected_event_is_not_promised() {
    let verdict = judge(|trace| {
        trace.drain(1..4);
        trace[0] = sighting(3, Seen::Connected { position: Some(id(3).into()) });
    });
    assert!(verdict.is_clean(), "{verdict:?}");
    // A client that never connected proves nothing.
    assert!(!judge(Vec::clear).is_clean());
}

#[test]
fn an_answer_that_ends_an_event_source_is_a_problem() {
    assert!(!judge(|trace| trace.push(sighting(9, Seen::GaveUp("503".to_owned())))).is_clean());
}

#[test]
fn uncertain_event_may_arrive_or_not() {
    for come in [true, false] {
        let mut book = whole();
        book.attempts[3].outcome = Outcome::Unknown;
        if !come {
            book.traces[0].sightings.remove(4);
        }
        assert!(Verdict::of([&book]).is_clean());
    }
}

/// The server lost the events 4 to 6 at the moment 6; the new one gave 7 to 9 ids from its own
/// clock.
fn rolled_back(ids_after: [EntryId; 3]) -> Records {
    let mut book = whole();
    for (index, id) in (6..9).zip(ids_after) {
        book.attempts[index].outcome = Outcome::Acknowledged(id);
        book.traces[0].sightings[index + 1] = event_at(index as u64 + 1, id);
    }
    let survivors: BTreeMap<_, _> = book
        .attempts
        .iter()
        .filter(|attempt| !(4..=6).contains(&attempt.tag.number))
        .map(|attempt| match attempt.outcome {
            Outcome::Acknowledged(id) => (id, attempt.tag),
            Outcome::Heard(_) | Outcome::Failed | Outcome::Unknown => unreachable!(),
        })
        .collect();
    book.survivors = Some(survivors);
    book
}

const CLOCK_AHEAD: [EntryId; 3] = [EntryId(70, 0), EntryId(80, 0), EntryId(90, 0)];
const CLOCK_BEHIND: [EntryId; 3] = [EntryId(32, 0), EntryId(41, 0), EntryId(53, 0)];

#[test]
fn client_with_a_lost_event_needs_a_reset() {
    for ids in [CLOCK_AHEAD, CLOCK_BEHIND] {
        let mut book = rolled_back(ids);
        assert_eq!(Verdict::of([&book]).durable.lost, 3);
        book.traces[0].sightings.insert(7, reset(6, 6, 3));
        let verdict = Verdict::of([&book]);
        assert!(verdict.is_clean(), "{verdict:?}");
        // A reset before the fact is not enough.
        let mut book = rolled_back(ids);
        book.traces[0].sightings.insert(3, reset(2, 2, 2));
        assert!(!Verdict::of([&book]).is_clean());
    }
}

#[test]
fn event_lost_before_any_delivery_is_rolled_back() {
    for ids in [CLOCK_AHEAD, CLOCK_BEHIND] {
        let mut book = rolled_back(ids);
        book.traces[0].sightings.drain(4..7);
        assert_eq!(sums(&Verdict::of([&book])), [6, 0, 3, 0, 0, 0]);
    }
    // But not the events before one that the client has of the same history.
    let mut book = rolled_back(CLOCK_AHEAD);
    book.traces[0].sightings.remove(4);
    book.traces[0].sightings.insert(6, reset(6, 6, 3));
    assert_eq!(sums(&Verdict::of([&book])), [8, 0, 0, 0, 0, 1]);
}

/// A failover lost the event 4, and another one the events 5 and 6, which the client had.
#[test]
fn event_of_another_lost_history_is_rolled_back() {
    let mut book = rolled_back(CLOCK_AHEAD);
    book.traces[0].sightings.remove(4);
    book.traces[0].sightings.insert(6, reset(6, 6, 3));
    let history = |numbers: &[u64]| numbers.iter().copied().map(tag).collect();
    book.histories = vec![history(&[1, 2, 3, 4]), history(&[1, 2, 3, 5, 6]), history(&[1, 2, 3, 7, 8, 9])];
    assert_eq!(sums(&Verdict::of([&book])), [8, 0, 1, 0, 0, 0]);
    // The server that had 4 and 5 announced both to the client's node.
    book.histories[0].insert(tag(5));
    assert_eq!(sums(&Verdict::of([&book])), [8, 0, 0, 0, 0, 1]);
}

/// One server had the events 4 and 6, and another one 5 at the same time. The client was at the
/// first one, whose events are lost.
#[test]
fn reset_covers_events_of_another_server() {
    let mut book = rolled_back(CLOCK_AHEAD);
    book.survivors.get_or_insert_default().insert(id(5), tag(5));
    book.traces[0].sightings.remove(5);
    book.traces[0].sightings.insert(6, reset(6, 6, 5));
    let history = |numbers: &[u64]| numbers.iter().copied().map(tag).collect();
    book.histories = vec![history(&[1, 2, 3, 4, 6]), history(&[1, 2, 3, 5, 7, 8, 9])];
    assert_eq!(sums(&Verdict::of([&book])), [8, 1, 0, 0, 0, 0]);
    // The first server had it too.
    book.histories[0].insert(tag(5));
    assert_eq!(sums(&Verdict::of([&book])), [8, 0, 0, 0, 0, 1]);
    // It is beyond the head.
    book.histories[0].remove(&tag(5));
    book.traces[0].sightings[6] = reset(6, 6, 3);
    assert_eq!(sums(&Verdict::of([&book])), [8, 0, 0, 0, 0, 1]);
}

/// The client connects to a node that has lost the events 4 to 6, and then to one that has not.
#[test]
fn events_beyond_a_rollback_may_come_again() {
    let mut book = whole();
    book.survivors = Some((1..=EVENTS).map(|number| (id(number), tag(number))).collect());
    let again = [connecting(6, 6), reset(6, 6, 3), connecting(6, 3), event(4), event(5), event(6)];
    book.traces[0].sightings.splice(7..7, again);
    let verdict = Verdict::of([&book]);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(sums(&verdict), [9, 0, 0, 0, 0, 0]);
    // Those up to the head may not.
    book.traces[0].sightings.insert(10, event(3));
    assert_eq!(sums(&Verdict::of([&book])), [9, 0, 0, 1, 0, 0]);
    // Nor may they come twice.
    book.traces[0].sightings[10] = event(4);
    assert_eq!(sums(&Verdict::of([&book])), [9, 0, 0, 1, 0, 0]);
    // Without a loss at a server there is nothing to roll back.
    book.traces[0].sightings.remove(10);
    book.survivors = None;
    assert!(!Verdict::of([&book]).is_clean());
}

/// The client was at an event without an acknowledgement, which the server lost too.
#[test]
fn reset_from_a_lost_event_without_an_acknowledgement_revokes_events() {
    let mut book = rolled_back(CLOCK_AHEAD);
    book.attempts[5].outcome = Outcome::Unknown;
    let reset_from = |from| {
        let (reason, head) = ("trimmed".to_owned(), EntryId(65, 0).into());
        sighting(6, Seen::Reset { reason, from: Some(id(from).into()), head })
    };
    book.traces[0].sightings.insert(7, reset_from(6));
    let verdict = Verdict::of([&book]);
    assert!(verdict.is_clean(), "{verdict:?}");
    // A reset from an event that the log still has revokes none.
    book.traces[0].sightings[7] = reset_from(3);
    assert_eq!(Verdict::of([&book]).durable.lost, 2);
}

#[test]
fn reset_covers_events_up_to_its_head_only() {
    for ids in [CLOCK_AHEAD, CLOCK_BEHIND] {
        // Away since 6, the client gets a reset at the moment 8: the log now ends with 8.
        let mut book = rolled_back(ids);
        let sightings = &mut book.traces[0].sightings;
        sightings.drain(7..9);
        let reason = "rolled-back".to_owned();
        sightings
            .insert(7, sighting(8, Seen::Reset { reason, from: Some(id(6).into()), head: ids[1].into() }));
        let verdict = Verdict::of([&book]);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!(sums(&verdict), [7, 2, 0, 0, 0, 0]);
        // The 9th was published later.
        book.traces[0].sightings.pop();
        assert_eq!(Verdict::of([&book]).durable.lost, 1);
    }
}

#[test]
fn without_evidence_of_a_rollback_nothing_is_excused_by_one() {
    let mut book = rolled_back(CLOCK_AHEAD);
    book.survivors = None;
    book.traces[0].sightings.drain(4..7);
    assert_eq!(Verdict::of([&book]).durable.lost, 3);
}
