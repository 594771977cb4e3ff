use futures_util::FutureExt as _;

use super::*;
use tidings_event::UserId;

const MIB: usize = 1 << 20;

fn user(name: &str) -> Keys {
    Keys { user: Some(UserId::parse(name).unwrap().key()), token: None }
}

fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

/// Reserves memory for bodies until one would have to wait.
fn reserved(budget: &Arc<BodyBudget>, keys: Keys, from: u8, bytes: usize) -> Vec<BodyReservation> {
    std::iter::from_fn(|| budget.reserve(keys, address(from), bytes).now_or_never()).collect()
}

#[test]
fn client_may_use_a_quarter_and_an_address_half() {
    let budget = BodyBudget::new(64 * MIB);
    let ann = reserved(&budget, user("ann"), 1, MIB);
    assert_eq!(ann.len(), 8, "each counts twice");
    assert_eq!(reserved(&budget, user("ann"), 2, MIB).len(), 0, "the user counts at every address");
    let ben = reserved(&budget, user("ben"), 1, MIB);
    assert_eq!((ben.len(), reserved(&budget, user("cid"), 1, MIB).len()), (8, 0));
    let anonymous = reserved(&budget, Keys::default(), 2, MIB);
    assert_eq!(anonymous.len(), 8);
    drop(ann);
    assert_eq!(reserved(&budget, user("ann"), 1, MIB).len(), 8);
    drop((ben, anonymous));
    assert!(budget.shares.lock().is_empty());
}

#[test]
fn addresses_at_their_limit_do_not_delay_small_bodies() {
    let budget = BodyBudget::new(64 * MIB);
    let held: Vec<_> = (0..10).flat_map(|from| reserved(&budget, Keys::default(), from, MIB)).collect();
    assert_eq!(held.len(), 24, "three quarters of it");
    let small = reserved(&budget, Keys::default(), 77, MIB / 4);
    assert_eq!(small.len(), 2, "a sixty-fourth of it");
    assert_eq!(reserved(&budget, Keys::default(), 1, MIB / 4).len(), 0, "an address above its share waits");
    assert_eq!(reserved(&budget, user("ann"), 78, MIB / 4).len(), 2);
}

#[test]
fn body_of_any_size_is_reserved_alone() {
    let budget = BodyBudget::new(MIB);
    let all = reserved(&budget, Keys::default(), 1, usize::MAX);
    assert_eq!(all.len(), 1);
    assert_eq!(reserved(&budget, Keys::default(), 1, 0).len(), 0);
}

#[tokio::test]
async fn cancelled_reservation_leaves_nothing() {
    let budget = BodyBudget::new(64 * MIB);
    let held = reserved(&budget, Keys::default(), 1, MIB);
    let waiting = budget.reserve(Keys::default(), address(1), MIB);
    let patience = std::time::Duration::from_millis(5);
    assert!(tokio::time::timeout(patience, waiting).await.is_err());
    drop(held);
    assert!(budget.shares.lock().is_empty());
    assert_eq!(reserved(&budget, Keys::default(), 1, MIB).len(), 8);
}
