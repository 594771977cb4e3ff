use std::time::Duration;

use super::*;
use tidings_event::{TokenId, UserId};

fn user(id: &str) -> Option<UserKey> {
    UserId::parse(id).ok().map(|user| user.key())
}

fn token(id: &str) -> Option<TokenKey> {
    TokenId::parse(id).ok().map(|token| token.key())
}

fn keys(user_id: &str, token_id: &str) -> Keys {
    Keys { user: user(user_id), token: token(token_id) }
}

fn of_user(id: &str, workspace: Option<&str>) -> Selector {
    let workspace = workspace.map(|id| WorkspaceId::parse(id).unwrap());
    Selector { user: user(id), workspace, ..Selector::default() }
}

/// A ban rejects the clients that it names until it ends.
#[test]
fn ban_applies_to_its_clients_until_it_ends() {
    let (bans, now) = (Bans::default(), SystemTime::now());
    let minute = now + Duration::from_secs(60);
    let (acme, other) = (WorkspaceId::parse("acme").unwrap(), WorkspaceId::parse("other").unwrap());
    assert_eq!(bans.until(&acme, keys("ann", "t"), now), None);

    assert!(bans.add(&of_user("ann", Some("acme")), minute, now));
    assert_eq!(bans.until(&acme, keys("ann", "t"), now), Some(minute));
    assert_eq!(bans.until(&other, keys("ann", "t"), now), None);
    assert_eq!(bans.until(&acme, keys("ben", "t"), now), None);
    assert_eq!(bans.until(&acme, Keys::default(), now), None);
    assert_eq!(bans.until(&acme, keys("ann", "t"), minute), None);

    let later = minute + Duration::from_secs(1);
    assert!(bans.add(&of_user("ann", Some("acme")), later, now));
    assert!(bans.add(&of_user("ann", Some("acme")), now, now), "a shorter one does not shorten it");
    assert_eq!(bans.until(&acme, keys("ann", "t"), now), Some(later));

    let stolen = Selector { token: token("stolen"), ..Selector::default() };
    assert!(bans.add(&stolen, minute, now));
    assert_eq!(bans.until(&other, keys("ben", "stolen"), now), Some(minute));

    let closed = Selector { workspace: Some(other.clone()), ..Selector::default() };
    assert!(bans.add(&closed, minute, now));
    assert_eq!(bans.until(&other, Keys::default(), now), Some(minute));

    bans.tidy(later);
    assert_eq!(bans.0.lock().count, 0);
    assert!(bans.0.lock().by_name.is_empty());
}

#[test]
fn ban_that_ends_first_is_removed_beyond_the_limit() {
    let (bans, now) = (Bans::default(), SystemTime::now());
    let at = |seconds| now + Duration::from_secs(seconds);
    for number in 0..BANS_MAX as u64 {
        assert!(bans.add(&of_user(&number.to_string(), None), at(1000 + number), now));
    }
    assert!(!bans.add(&of_user("more", None), at(500_000), now), "a ban was removed early");
    let acme = WorkspaceId::parse("acme").unwrap();
    assert_eq!(bans.until(&acme, keys("0", "t"), now), None);
    assert_eq!(bans.until(&acme, keys("1", "t"), now), Some(at(1001)));
    assert_eq!(bans.until(&acme, keys("more", "t"), now), Some(at(500_000)));
    assert!(bans.add(&of_user("again", None), at(500_000), at(1001)), "ended bans are removed first");
}
