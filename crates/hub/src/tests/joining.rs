//! Joining, being woken, and what a view shows.

use super::*;

/// The `connected` event follows the confirmation of the subscription, and no event after it is
/// missed.
#[test]
fn the_hello_waits_for_the_confirmation_and_nothing_after_it_is_missed() {
    let fixture = fixture();
    let mut subscriber = fixture.join(Start::Head);
    assert_eq!(fixture.desired_subscriptions.take_changes()[&acme()], SubscriptionChange::Want);
    assert_eq!(next(&mut subscriber), Poll::Pending);
    assert_eq!(subscriber.position(), None);
    fixture.hub.confirmed(&acme());
    assert_eq!(next(&mut subscriber), Poll::Pending, "the end of the log is not known yet");
    say(&fixture, "after the confirmation, before the hello");
    fixture.answer_reads();
    assert_eq!(read(&mut subscriber), ["joined"], "the hello names the head at the time it is made");
    say(&fixture, "one");
    say(&fixture, "two");
    assert_eq!(read_short(&mut subscriber), ["one", "two"]);
    assert_eq!(next(&mut subscriber), Poll::Pending);
}

#[test]
fn the_hello_names_the_end_of_the_log() {
    let fixture = fixture();
    log_unannounced(&fixture, 7, "long ago");
    let mut subscriber = fixture.join(Start::Head);
    fixture.hub.confirmed(&acme());
    log(&fixture, 8, "between confirmation and reading");
    fixture.answer_reads();
    assert_eq!(
        next(&mut subscriber),
        Poll::Ready(Next::Joined(Joined::Fresh { position: Position::logged(entry(8)) }))
    );
    assert_eq!(next(&mut subscriber), Poll::Pending, "what the hello's position covers does not come again");
    log(&fixture, 9, "after it");
    assert_eq!(read_short(&mut subscriber), ["after it"]);
}

/// A frame is encoded once, and all subscribers share its bytes.
#[test]
fn a_frame_is_encoded_once_and_shared() {
    let fixture = fixture();
    let (mut one, mut two) = (joined(&fixture), joined(&fixture));
    say(&fixture, "x");
    let (Poll::Ready(Next::Event(one)), Poll::Ready(Next::Event(two))) = (next(&mut one), next(&mut two))
    else {
        panic!("both get the frame");
    };
    assert_eq!(one.as_ptr(), two.as_ptr());
}

/// All clients of a workspace share one subscription.
#[test]
fn one_subscription_for_all_who_share_a_workspace() {
    let fixture = fixture();
    let first = joined(&fixture);
    assert_eq!(fixture.desired_subscriptions.take_changes().len(), 1);
    let second = joined(&fixture);
    assert!(fixture.desired_subscriptions.take_changes().is_empty());
    assert_eq!(fixture.metrics.subscribers.get(), 2);
    drop((first, second));
    assert_eq!(fixture.metrics.subscribers.get(), 0);
}

#[test]
fn a_filter_holds_events_back_but_the_position_moves_on() {
    let fixture = fixture();
    let filter =
        SubscriptionFilter { types: Some(TypeFilter::parse("A").unwrap()), ..SubscriptionFilter::default() };
    let mut subscriber = fixture.hub.join(&acme(), Start::Head, filter).unwrap();
    fixture.confirm();
    read(&mut subscriber);
    log(&fixture, 5, r#"{"type":"A"}"#);
    log(&fixture, 6, r#"{"type":"B"}"#);
    assert_eq!(read_short(&mut subscriber), [r#"{"type":"A"}"#]);
    assert_eq!(position(&subscriber), "6-0");
}

#[test]
fn who_waits_is_woken_and_only_once() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert_eq!(subscriber.poll_next(&Context::from_waker(&waker)), Poll::Pending);
    assert_eq!(subscriber.poll_next(&Context::from_waker(&waker)), Poll::Pending);
    say(&fixture, "a");
    say(&fixture, "b");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1, "it has not come back to wait since");
    read(&mut subscriber);
    assert_eq!(subscriber.poll_next(&Context::from_waker(&waker)), Poll::Pending);
    fixture.hub.wake_all();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 2);
}
