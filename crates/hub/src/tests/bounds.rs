//! Limits, and the behaviour at them.

use super::*;

/// A workspace is released after the linger, and never while it has a client.
#[test]
fn empty_workspace_is_released_after_the_linger() {
    let fixture = fixture();
    let subscriber = joined(&fixture);
    fixture.desired_subscriptions.take_changes();
    let later = Instant::now() + Duration::from_secs(3600);
    assert_eq!(fixture.hub.sweep(later), 0);
    drop(subscriber);
    assert_eq!(fixture.hub.sweep(Instant::now() + Duration::from_secs(29)), 0);
    let back = fixture.join(Start::Head);
    assert_eq!(fixture.hub.sweep(later), 0, "a client joined in time");
    drop(back);
    assert_eq!(fixture.hub.sweep(later), 1);
    assert_eq!(fixture.desired_subscriptions.take_changes()[&acme()], SubscriptionChange::Release);
    assert_eq!(fixture.metrics.workspaces.get(), 0);
    send_message(&fixture, "no client is here");
}

/// A client that the ring overtakes is lagging; other clients are not affected.
#[test]
fn lagging_client_ends_and_others_continue() {
    let fixture = fixture();
    let (mut slow, mut quick) = (joined(&fixture), joined(&fixture));
    for number in 0..5 {
        send_message(&fixture, &number.to_string());
        assert_eq!(read_short(&mut quick), [number.to_string()]);
    }
    assert_eq!(read(&mut slow), ["lagging"]);
    send_message(&fixture, "5");
    assert_eq!(read_short(&mut quick), ["5"]);
}

#[test]
fn subscriber_exactly_one_ring_behind_gets_every_event() {
    let fixture = fixture();
    let mut slow = joined(&fixture);
    for number in 0..4 {
        send_message(&fixture, &number.to_string());
    }
    assert_eq!(read_short(&mut slow), ["0", "1", "2", "3"]);
}

#[test]
fn full_message_queue_drops_live_events_with_a_reset() {
    let fixture = large_ring();
    let mut subscriber = joined(&fixture);
    log_unannounced(&fixture, 1, "1");
    log(&fixture, 2, "2");
    for number in 0..40 {
        send_message(&fixture, &format!("live {number}"));
    }
    let got = read_all(&fixture, &mut subscriber);
    assert!(got.starts_with(&["1".to_owned()]) && got.contains(&"2".to_owned()), "{got:?}");
    assert!(got.contains(&"reset:overflow".to_owned()), "{got:?}");
    log(&fixture, 3, "3");
    assert!(read_all(&fixture, &mut subscriber).ends_with(&["3".to_owned()]));
}

#[test]
fn lingering_workspaces_are_released_at_the_limit() {
    let fixture = fixture();
    let join = |number: u32| {
        let id = WorkspaceId::parse(&number.to_string()).unwrap();
        fixture.hub.join(&id, Start::Head, SubscriptionFilter::default())
    };
    drop((0..99).map(|number| join(number).unwrap()).collect::<Vec<_>>());
    let held: Vec<_> = (100..200).map(|number| join(number).unwrap()).collect();
    assert_eq!(join(1).unwrap_err(), Full::Workspaces);
    assert!(join(150).is_ok(), "an existing workspace is no further one");
    drop(held);
    assert!(join(1).is_ok());
}

/// With full rings a node rejects a new workspace; it evicts no client.
#[test]
fn full_rings_reject_a_further_workspace() {
    let fixture = fixture_with(HubSettings { ring_events: 1000, ring_bytes_in_all: 3000, ..settings() });
    let mut quick = joined(&fixture);
    let mut slow = fixture.join(Start::Head);
    read(&mut slow);
    let join = |id: &str| {
        fixture.hub.join(&WorkspaceId::parse(id).unwrap(), Start::Head, SubscriptionFilter::default())
    };
    let other = join("other").unwrap();
    for number in 0..100 {
        send_message(&fixture, &number.to_string());
        assert_eq!(read_short(&mut quick), [number.to_string()]);
    }
    let used = fixture.metrics.ring_bytes.get();
    assert!((2000..=3000).contains(&used), "{used}");
    assert_eq!(read(&mut slow), ["lagging"]);
    assert_eq!(join("third").unwrap_err(), Full::RingBytes);
    assert!(join("other").is_ok(), "an existing workspace is no further one");
    drop((slow, quick));
    assert!(join("third").is_ok(), "the lingering workspace is released");
    drop(other);
    assert_eq!(fixture.metrics.ring_bytes.get(), 0);
}

/// A dropped subscriber leaves its workspace at once.
#[test]
fn many_clients_come_and_go_without_a_leak() {
    let fixture = fixture();
    let keep = joined(&fixture);
    for _ in 0..10_000 {
        drop(fixture.join(Start::Head));
    }
    assert_eq!(fixture.metrics.subscribers.get(), 1);
    drop(keep);
    assert_eq!(fixture.metrics.subscribers.get(), 0);
    assert_eq!(fixture.hub.sweep(Instant::now() + Duration::from_secs(60)), 1);
    assert_eq!(fixture.hub.workspaces(), 0);
}

/// A full hub drops the workspace that lingers longest, and never one with subscribers.
#[test]
fn longest_lingering_workspace_is_released_first() {
    let fixture = fixture_with(HubSettings { workspaces: 3, ..settings() });
    let id = |id| WorkspaceId::parse(id).unwrap();
    let join = |name| fixture.hub.join(&id(name), Start::Head, SubscriptionFilter::default());
    for name in ["a", "b", "c"] {
        drop(join(name).unwrap());
    }
    // The workspace that was empty for longest has a subscriber again, and the next one was left a
    // second time.
    let _back = join("a").unwrap();
    drop(join("b").unwrap());
    let changes = || fixture.desired_subscriptions.take_changes();
    changes();
    let _first = join("d").unwrap();
    assert_eq!(changes().get(&id("b")), Some(&SubscriptionChange::Release));
    let _second = join("e").unwrap();
    assert_eq!(changes().get(&id("c")), Some(&SubscriptionChange::Release));
    assert_eq!(join("f").unwrap_err(), Full::Workspaces);

    // A workspace that was swept is no longer in the list, and one that is in use again is in it
    // once.
    drop((_back, _first));
    fixture.hub.sweep(Instant::now() + Duration::from_secs(3600));
    drop(join("a").unwrap());
    let _third = join("f").unwrap();
    assert!(changes().get(&id("a")) != Some(&SubscriptionChange::Release), "there was space");
    let _fourth = join("g").unwrap();
    assert_eq!(changes().get(&id("a")), Some(&SubscriptionChange::Release));
    assert_eq!(join("h").unwrap_err(), Full::Workspaces);
}
