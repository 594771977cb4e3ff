use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn after(sequences: &[u64]) -> Ledger {
    let mut ledger = Ledger::default();
    for sequence in sequences {
        ledger.receive(*sequence);
    }
    ledger
}

fn missing(reported: u64, unreported: u64) -> Missing {
    Missing { reported, unreported }
}

#[test]
fn everything_once_and_in_order_leaves_nothing_to_say() {
    let account = after(&[0, 1, 2]).close(3, &[]);
    assert_eq!(account, DeliveryCounts { received: 3, ..DeliveryCounts::default() });
}

#[test]
fn events_are_missing_at_the_front_middle_and_end() {
    let ledger = after(&[1, 4]);
    assert_eq!(ledger.close(7, &[]).missing, missing(0, 5));
    assert_eq!(ledger.close(7, &[0, 5]).missing, missing(0, 3), "what was not published cannot be missing");
    assert_eq!(after(&[]).close(2, &[]).missing, missing(0, 2));
}

#[test]
fn late_event_is_not_missing_and_a_repeated_one_counts() {
    let mut ledger = after(&[0, 5]);
    assert_eq!(ledger.receive(3), Receipt::Late);
    assert_eq!(ledger.receive(3), Receipt::Again);
    assert_eq!(ledger.receive(5), Receipt::Again);
    let account = ledger.close(6, &[]);
    assert_eq!((account.duplicates, account.out_of_order, account.missing), (2, 1, missing(0, 3)));
}

#[test]
fn reset_reports_a_loss_at_its_place() {
    let mut ledger = after(&[0]);
    ledger.reset();
    ledger.receive(3);
    ledger.receive(5);
    ledger.reset();
    let account = ledger.close(8, &[]);
    assert_eq!((account.resets, account.missing), (2, missing(4, 1)));
    // A reset without a missing event is no loss, and does not excuse a later one.
    let mut ledger = after(&[0]);
    ledger.reset();
    ledger.receive(1);
    ledger.receive(3);
    assert_eq!(ledger.close(4, &[]).missing, missing(0, 1));
}

#[test]
fn holes_are_bounded_and_those_given_up_are_missing() {
    let mut ledger = after(&[]);
    let count = 2 * HOLES_MAX as u64;
    for hole in 0..count {
        ledger.receive(2 * hole + 1);
    }
    assert_eq!(ledger.holes.len(), HOLES_MAX);
    assert_eq!(ledger.receive(0), Receipt::Again);
    assert_eq!(ledger.close(2 * count, &[]).missing, missing(0, count));
}

proptest! {
    /// The ledger agrees with plain sets about lost, repeated and reordered events.
    #[test]
    fn it_agrees_with_sets(
        sequences in prop::collection::vec(0_u64..30, 0..60),
        failed in prop::collection::btree_set(0_u64..30, 0..5),
    ) {
        let account = after(&sequences).close(30, &failed.iter().copied().collect::<Vec<_>>());
        let distinct: BTreeSet<u64> = sequences.iter().copied().collect();
        let expected = (0..30).filter(|n| !distinct.contains(n) && !failed.contains(n)).count() as u64;
        prop_assert_eq!(account.missing, missing(0, expected));
        prop_assert_eq!(account.received, distinct.len() as u64);
        prop_assert_eq!(account.duplicates, (sequences.len() - distinct.len()) as u64);
        let mut highest = None;
        let mut seen = BTreeSet::new();
        let late = sequences.iter().filter(|&&n| {
            let late = seen.insert(n) && highest > Some(n);
            highest = highest.max(Some(n));
            late
        });
        prop_assert_eq!(account.out_of_order, late.count() as u64);
    }
}
