use super::*;

const BOUNDS: IdempotencyBounds = IdempotencyBounds { log: 10_000, all: 25_000 };

fn cache() -> IdempotencyCache {
    IdempotencyCache::new(BOUNDS)
}

fn key(number: usize) -> Bytes {
    name(b"workspace:a", number.to_string().as_bytes())
}

#[test]
fn ended_records_are_dropped() {
    let mut cache = cache();
    cache.remember(&key(1), vec![EntryId::ZERO], 100);
    cache.remember(&key(2), vec![], 200);
    assert!(cache.forget(99).is_empty());
    assert_eq!(cache.recall(&key(1)), Some(&[EntryId::ZERO][..]));
    assert_eq!(cache.forget(100), [key(1)]);
    assert_eq!((cache.recall(&key(1)), cache.recall(&key(2))), (None, Some(&[][..])));
    assert_eq!(cache.forget(u64::MAX), [key(2)]);
    assert_eq!((cache.bytes, cache.logs.len()), (0, 0));
}

#[test]
fn each_key_ends_in_its_time_whatever_the_order() {
    let mut cache = cache();
    cache.remember(&key(1), vec![], 300);
    cache.remember(&key(2), vec![], 100);
    assert_eq!(cache.forget(100), [key(2)]);
    assert_eq!(cache.forget(300), [key(1)]);
}

#[test]
fn full_log_takes_no_key_and_forgets_none() {
    let mut cache = cache();
    let mut taken = 0;
    while cache.room_for(&key(taken), 1) == Ok(()) {
        cache.remember(&key(taken), vec![EntryId::ZERO], 100);
        taken += 1;
    }
    assert_eq!(cache.room_for(&key(taken), 1), Err(KeysFull::Log));
    assert!(cache.bytes <= BOUNDS.log && cache.bytes > BOUNDS.log - 400);
    assert!(cache.forget(99).is_empty());
    assert!((0..taken).all(|number| cache.recall(&key(number)).is_some()));
    // A key may hold the mark and belongs to its log all the same.
    assert_eq!(cache.room_for(&name(b"workspace:a", b"x/once/y"), 1), Err(KeysFull::Log));
    assert_eq!(cache.room_for(&name(b"workspace:b", b"1"), 1), Ok(()));
    cache.forget(100);
    assert_eq!(cache.room_for(&key(taken), 1), Ok(()));
}

#[test]
fn all_logs_together_are_bounded() {
    let mut cache = cache();
    let of = |number: usize| name(format!("workspace:{number}").as_bytes(), b"1");
    let mut taken = 0;
    while cache.room_for(&of(taken), 100) == Ok(()) {
        cache.remember(&of(taken), vec![EntryId::ZERO; 100], 100);
        taken += 1;
    }
    assert_eq!(cache.room_for(&of(taken), 100), Err(KeysFull::All));
    assert!(cache.bytes <= BOUNDS.all && cache.bytes > BOUNDS.all - 2000);
}
