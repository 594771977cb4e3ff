//! The subscription of one workspace is lost: its slot moves, or the link of its shard.

use super::*;

fn other() -> WorkspaceId {
    WorkspaceId::parse("other").unwrap()
}

/// A subscriber of the other workspace that got its `connected` event.
fn joined_to_other(fixture: &Fixture) -> Subscriber {
    let mut subscriber = fixture.hub.join(&other(), Start::Head, SubscriptionFilter::default()).unwrap();
    fixture.hub.confirmed(&other());
    fixture.complete_reads();
    assert_eq!(read(&mut subscriber), ["joined"]);
    subscriber
}

#[test]
fn loss_of_one_subscription_concerns_its_workspace_alone() {
    let fixture = fixture();
    let (mut lost, mut kept) = (joined(&fixture), joined_to_other(&fixture));
    log(&fixture, 1, "1");
    assert_eq!(read_short(&mut lost), ["1"]);
    fixture.hub.lost(&acme());
    assert!(!lost.is_live() && kept.is_live());
    fixture.hub.message(&other(), envelope::encode(entry(1), EntryId::ZERO, b"kept", None));
    assert_eq!(read_short(&mut kept), ["kept"]);
    send_message(&fixture, "of the former subscription");
    log_unannounced(&fixture, 2, "2");
    assert_eq!(fixture.complete_reads(), 0, "the log is read after the confirmation");
    assert_eq!(next(&mut lost), Poll::Pending);
    fixture.confirm();
    assert_eq!(read_short(&mut lost), ["2"]);
    assert!(lost.is_live());
    assert!(read_short(&mut kept).is_empty());
}

/// The bus repeats a confirmation that the hub has not seen.
#[test]
fn confirmation_of_a_subscription_that_was_not_lost_reads_nothing() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    fixture.hub.confirmed(&acme());
    assert_eq!(fixture.complete_reads(), 0);
    fixture.hub.lost(&acme());
    fixture.hub.lost(&acme());
    fixture.confirm();
    assert_eq!(read_short(&mut subscriber), ["reset:interrupted"], "one loss, one reset");
}

/// A client that comes after the loss waits, and misses nothing after its `connected` event.
#[test]
fn client_of_a_lost_subscription_waits_for_the_next_confirmation() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let _keeps_the_workspace = joined(&fixture);
    fixture.hub.lost(&acme());
    let mut held = fixture.join(Start::Head);
    assert_eq!(next(&mut held), Poll::Pending);
    fixture.hub.confirmed(&acme());
    assert_eq!(next(&mut held), Poll::Pending, "the log is not read yet");
    fixture.complete_reads();
    assert_eq!(read(&mut held), ["joined"]);
}

/// The link that is lost is not that of a subscription which the server rejects.
#[test]
fn rejected_workspace_is_wanted_again_after_a_loss_too() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    fixture.hub.refused(&acme(), "NOPERM");
    assert_eq!(read(&mut subscriber), ["unavailable"]);
    fixture.hub.lost(&acme());
    fixture.desired_subscriptions.take_changes();
    let _back = fixture.join(Start::Head);
    assert_eq!(fixture.desired_subscriptions.take_changes()[&acme()], SubscriptionChange::Want);
}

/// Live messages that wait for a read of the log are lost with the subscription.
#[test]
fn live_messages_that_wait_are_lost_with_the_subscription() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 1, "1");
    assert_eq!(read_short(&mut subscriber), ["1"]);
    fixture.hub.lost(&acme());
    fixture.confirm();
    assert!(read_short(&mut subscriber).is_empty(), "all events are durable so far");
    // The announcement of the second event is lost, so the live one waits for the log.
    log_unannounced(&fixture, 2, "2");
    log(&fixture, 3, "3");
    send_message(&fixture, "live");
    fixture.hub.lost(&acme());
    fixture.confirm();
    assert_eq!(read_short(&mut subscriber), ["2", "3", "reset:interrupted"]);
}

/// The server takes the right away, and gives it back.
#[test]
fn log_is_read_after_a_refusal_too() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 1, "1");
    assert_eq!(read_short(&mut subscriber), ["1"]);
    let seen = position(&subscriber);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert_eq!(subscriber.poll_next(&Context::from_waker(&waker)), Poll::Pending);
    fixture.hub.refused(&acme(), "NOPERM");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1, "its stream has to end");
    assert_eq!(read(&mut subscriber), ["unavailable"]);
    log_unannounced(&fixture, 2, "2");
    let mut back = resume(&fixture, &seen);
    fixture.confirm();
    assert_eq!(read_all(&fixture, &mut back), ["resumed", "2"]);
}

/// No client has joined before, so none may have missed an event.
#[test]
fn loss_before_the_first_read_causes_no_reset() {
    for is_refused in [true, false] {
        let fixture = fixture();
        let mut first = fixture.join(Start::Head);
        if is_refused {
            fixture.hub.refused(&acme(), "NOPERM");
        } else {
            fixture.hub.confirmed(&acme());
            fixture.hub.lost(&acme());
        }
        let mut second = fixture.join(Start::Head);
        fixture.confirm();
        assert_eq!(read(&mut first), ["joined"]);
        assert_eq!(read(&mut second), ["joined"]);
        assert_eq!(fixture.metrics.resets(ResetReason::Interrupted.as_str()), 0);
    }
}

/// The server of the next subscription may have what the former one had not.
#[test]
fn failed_read_of_a_former_subscription_does_not_count() {
    let losses: [fn(&Fixture); 2] = [
        |fixture| fixture.hub.lost(&acme()),
        |fixture| {
            fixture.hub.refused(&acme(), "NOPERM");
            let _wants_it_again = fixture.join(Start::Head);
        },
    ];
    for lose in losses {
        let fixture = fixture();
        log_unannounced(&fixture, 1, "1");
        log_unannounced(&fixture, 2, "2");
        let _keeps_the_workspace = joined(&fixture);
        let mut early = resume(&fixture, "1-0");
        assert_eq!(next(&mut early), Poll::Pending);
        let replay = fixture.hub.read_queue().take().unwrap();
        fixture.hub.answer(&replay, Err(LogError::Unavailable("away".to_owned())));
        assert_eq!(read(&mut early), ["unavailable"]);
        lose(&fixture);
        fixture.confirm();
        let mut late = resume(&fixture, "1-0");
        assert_eq!(read_all(&fixture, &mut late)[..2], ["resumed", "2"]);
    }
}

/// The pauses of reads in vain belong to the former subscription.
#[test]
fn log_is_read_at_once_after_the_confirmation() {
    let fixture = fixture_with(HubSettings { ring_events: 1000, ..settings() });
    let _subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    for id in 100..110 {
        fixture.hub.message(&acme(), envelope::encode(entry(id), entry(50), b"forged", None));
    }
    fixture.complete_reads();
    fixture.hub.lost(&acme());
    fixture.hub.confirmed(&acme());
    let recovery = fixture.hub.read_queue().take().unwrap();
    assert_eq!(recovery.pause, Duration::ZERO);
}
