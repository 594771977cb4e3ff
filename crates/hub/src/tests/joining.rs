//! Joins, wake-ups and filters.

use super::*;

/// The `connected` event follows the confirmation of the subscription, and no event after it is
/// missed.
#[test]
fn connected_waits_for_the_confirmation_and_no_event_is_missed() {
    let fixture = fixture();
    let mut subscriber = fixture.join(Start::Head);
    assert_eq!(fixture.desired_subscriptions.take_changes()[&acme()], SubscriptionChange::Want);
    assert_eq!(next(&mut subscriber), Poll::Pending);
    assert_eq!(subscriber.position(), None);
    fixture.hub.confirmed(&acme());
    assert_eq!(next(&mut subscriber), Poll::Pending, "the end of the log is not known yet");
    send_message(&fixture, "after the confirmation, before connected");
    fixture.complete_reads();
    assert_eq!(read(&mut subscriber), ["joined"], "the event names the head at the time it is made");
    send_message(&fixture, "one");
    send_message(&fixture, "two");
    assert_eq!(read_short(&mut subscriber), ["one", "two"]);
    assert_eq!(next(&mut subscriber), Poll::Pending);
}

#[test]
fn connected_names_the_end_of_the_log() {
    let fixture = fixture();
    log_unannounced(&fixture, 7, "long ago");
    let mut subscriber = fixture.join(Start::Head);
    fixture.hub.confirmed(&acme());
    log(&fixture, 8, "between confirmation and reading");
    fixture.complete_reads();
    assert_eq!(
        next(&mut subscriber),
        Poll::Ready(Next::Joined(Joined::Fresh { position: Position::logged(entry(8)) }))
    );
    assert_eq!(next(&mut subscriber), Poll::Pending, "events up to the position do not come again");
    log(&fixture, 9, "after it");
    assert_eq!(read_short(&mut subscriber), ["after it"]);
}

/// A frame is encoded once, and all subscribers share its bytes.
#[test]
fn a_frame_is_encoded_once_and_shared() {
    let fixture = fixture();
    let (mut one, mut two) = (joined(&fixture), joined(&fixture));
    send_message(&fixture, "x");
    let (Poll::Ready(Next::Event(one)), Poll::Ready(Next::Event(two))) = (next(&mut one), next(&mut two))
    else {
        panic!("both get the frame");
    };
    assert_eq!(one.as_ptr(), two.as_ptr());
}

/// All clients of a workspace share one subscription.
#[test]
fn clients_share_the_subscription_of_a_workspace() {
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
fn waiting_subscriber_is_woken_once() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert_eq!(subscriber.poll_next(&Context::from_waker(&waker)), Poll::Pending);
    assert_eq!(subscriber.poll_next(&Context::from_waker(&waker)), Poll::Pending);
    send_message(&fixture, "a");
    send_message(&fixture, "b");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1, "it has not waited again since");
    read(&mut subscriber);
    assert_eq!(subscriber.poll_next(&Context::from_waker(&waker)), Poll::Pending);
    fixture.hub.wake_all();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 2);
}
