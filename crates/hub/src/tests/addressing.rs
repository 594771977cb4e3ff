//! Private events.

use super::*;
use tidings_event::Audience;
use tidings_event::UserId;

fn filter(user: &str) -> SubscriptionFilter {
    SubscriptionFilter { user: Some(UserId::parse(user).unwrap().key()), ..SubscriptionFilter::default() }
}

fn join_as(fixture: &Fixture, user: &str, start: Start) -> Subscriber {
    fixture.hub.join(&acme(), start, filter(user)).unwrap()
}

/// Logs an event for some users, and announces it.
fn log_to(fixture: &Fixture, id: u64, payload: &str, users: &[&str]) {
    let audience = Audience::new(users).unwrap();
    let previous = fixture.log.lock().append_to(entry(id), payload, Some(audience.as_json()));
    let message = envelope::encode(entry(id), previous, payload.as_bytes(), Some(&audience));
    fixture.hub.message(&acme(), message);
}

#[test]
fn private_event_reaches_only_its_users() {
    let fixture = fixture();
    let mut other_user = joined(&fixture);
    let [mut one, mut two] = ["u1", "u2"].map(|user| join_as(&fixture, user, Start::Head));
    for subscriber in [&mut one, &mut two] {
        assert_eq!(read(subscriber), ["joined"]);
    }
    log(&fixture, 1, "public");
    log_to(&fixture, 2, "for one", &["u1"]);
    log_to(&fixture, 3, "for both", &["u2", "u1"]);
    assert_eq!(read_short(&mut one), ["public", "for one", "for both"]);
    assert_eq!(read_short(&mut two), ["public", "for both"]);
    assert_eq!(read_short(&mut other_user), ["public"]);
    assert_eq!([position(&one), position(&two), position(&other_user)], ["3-0"; 3]);
}

/// The last event of a client is far behind, because all later ones were for other users or of
/// another type.
#[test]
fn filters_and_private_events_do_not_hinder_resuming() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, r#"{"type":"A"}"#);
    let _keeps_the_workspace = joined(&fixture);
    for id in 2..40 {
        match id % 3 {
            0 => log(&fixture, id, r#"{"type":"B"}"#),
            _ => log_to(&fixture, id, r#"{"type":"A"}"#, &["u2"]),
        }
    }
    log_to(&fixture, 40, r#"{"type":"A","n":40}"#, &["u1"]);
    for from in ["1-0", "2-0", "38-0"] {
        let types = Some(TypeFilter::parse("A").unwrap());
        let start = Start::After(Resume::new(from));
        let mut back =
            fixture.hub.join(&acme(), start, SubscriptionFilter { types, ..filter("u1") }).unwrap();
        assert_eq!(read_all(&fixture, &mut back), ["resumed", r#"{"type":"A","n":40}"#], "from {from}");
        assert_eq!(position(&back), "40-0");
        let mut other_user = resume(&fixture, from);
        let public =
            (2..40).filter(|id| id % 3 == 0 && *id > from.split('-').next().unwrap().parse().unwrap());
        assert_eq!(read_all(&fixture, &mut other_user).len(), 1 + public.count(), "from {from}");
        assert_eq!(
            position(&other_user),
            "40-0",
            "a client that got none of them is behind them all the same"
        );
    }
    // The next event connects for a client that has skipped all others.
    let mut back = join_as(&fixture, "u3", Start::After(Resume::new("40-0")));
    log(&fixture, 41, "41");
    assert_eq!(read_all(&fixture, &mut back), ["resumed", "41"]);
}

#[test]
fn gap_filled_from_the_log_keeps_its_audiences() {
    let fixture = fixture();
    let mut other_user = joined(&fixture);
    let mut one = join_as(&fixture, "u1", Start::Head);
    read(&mut one);
    fixture.log.lock().append_to(entry(1), "missed", Some(r#" [ "u1" ] "#));
    log(&fixture, 2, "2");
    assert_eq!(read_all(&fixture, &mut one), ["missed", "2"]);
    assert_eq!(read_short(&mut other_user), ["2"]);
}

/// An entry with an unreadable audience is delivered to no client.
#[test]
fn entry_with_an_unreadable_audience_reaches_no_client() {
    for to in ["", "[]", "null", "u1", "[\"u1\",1]", "{\"u1\":1}"] {
        let fixture = large_ring();
        let mut one = join_as(&fixture, "u1", Start::Head);
        let mut other_user = joined(&fixture);
        read(&mut one);
        log(&fixture, 1, "1");
        fixture.log.lock().append_to(entry(2), "secret", Some(to));
        send_message(&fixture, "");
        log(&fixture, 3, "3");
        let expected = ["1", "reset:bad-entry", "3"];
        assert_eq!(read_all(&fixture, &mut one), expected, "{to}");
        assert_eq!(read_short(&mut other_user), expected, "{to}");
        assert_eq!(fixture.metrics.dropped(ResetReason::BadEntry.as_str()), 1);
        // The same on a node that reads it from the log.
        let other = fixture_of(&fixture);
        let mut back = join_as(&other, "u1", Start::After(Resume::new("1-0")));
        other.confirm();
        assert_eq!(read_all(&other, &mut back), ["resumed", "reset:bad-entry", "3"], "{to}");
        // And with the same audience in the announcement.
        send_message(&fixture, &format!("tidings/1 4-0 3-0 {to}\nsecret"));
        send_message(&fixture, "next");
        assert_eq!(read_short(&mut one), ["reset:bad-envelope", "next"], "{to}");
    }
}
