//! The hub by itself: no bus, no sockets, no runtime.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::bus::Change;
use crate::event::control::ResetReason;
use crate::event::envelope;
use crate::event::{EntryId, Position};

/// A waker that counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Fixture {
    hub: Hub,
    interest: Arc<Interest>,
    metrics: Arc<Metrics>,
}

fn fixture() -> Fixture {
    fixture_with(HubSettings {
        ring_events: 4,
        ring_bytes: 1 << 20,
        event_bytes: 64,
        linger: Duration::from_secs(30),
    })
}

fn fixture_with(settings: HubSettings) -> Fixture {
    let interest = Arc::new(Interest::default());
    let metrics = Arc::new(Metrics::new());
    let hub = Hub::new(NodeId::random(), settings, Arc::clone(&interest), Arc::clone(&metrics));
    Fixture { hub, interest, metrics }
}

fn acme() -> WorkspaceId {
    WorkspaceId::parse("acme").unwrap()
}

fn next(subscriber: &mut Subscriber) -> Poll<Next> {
    subscriber.poll_next(&Context::from_waker(Waker::noop()))
}

/// Everything that a subscriber gets now, as text; the hello as `joined`.
fn read(subscriber: &mut Subscriber) -> Vec<String> {
    let mut got = Vec::new();
    while let Poll::Ready(next) = next(subscriber) {
        got.push(match next {
            Next::Joined(joined) => match joined {
                Joined::Fresh { .. } => "joined".to_owned(),
                Joined::Resumed { .. } => "resumed".to_owned(),
                Joined::Unproven { .. } => "unproven".to_owned(),
            },
            Next::Frame(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Next::Lagging => "lagging".to_owned(),
            Next::Refused => "refused".to_owned(),
        });
        if matches!(got.last().map(String::as_str), Some("lagging" | "refused")) {
            break;
        }
    }
    got
}

/// The payloads, and the names of the broker's own events, that a subscriber gets now.
fn read_short(subscriber: &mut Subscriber) -> Vec<String> {
    let short = |frame: String| match frame.split_once("event: tidings.") {
        Some((_, rest)) => {
            let name = rest.lines().next().unwrap_or_default();
            let reason = rest.split_once("\"reason\":\"").and_then(|(_, rest)| rest.split('"').next());
            format!("{name}:{}", reason.unwrap_or_default())
        }
        None => frame.split_once("data: ").map_or(frame.clone(), |(_, rest)| rest.trim_end().to_owned()),
    };
    read(subscriber).into_iter().map(short).collect()
}

fn say(fixture: &Fixture, payload: &str) {
    fixture.hub.message(&acme(), Bytes::from(payload.to_owned()));
}

fn log(fixture: &Fixture, id: u64, previous: u64, payload: &str) {
    let entry = |milliseconds| EntryId { milliseconds, sequence: 0 };
    fixture.hub.message(&acme(), envelope::encode(entry(id), entry(previous), payload.as_bytes()));
}

/// A subscriber of a confirmed workspace that has had its hello.
fn joined(fixture: &Fixture) -> Subscriber {
    let mut subscriber = fixture.hub.join(&acme(), None, View::default());
    fixture.hub.confirmed(&acme());
    assert_eq!(read(&mut subscriber), ["joined"]);
    subscriber
}

fn position(subscriber: &Subscriber) -> String {
    subscriber.position().unwrap().to_string()
}

#[test]
fn the_hello_waits_for_the_confirmation_and_nothing_after_it_is_missed() {
    let fixture = fixture();
    let mut subscriber = fixture.hub.join(&acme(), None, View::default());
    assert_eq!(fixture.interest.take_changes()[&acme()], Change::Want);
    assert_eq!(next(&mut subscriber), Poll::Pending);
    assert_eq!(subscriber.position(), None);
    fixture.hub.confirmed(&acme());
    say(&fixture, "after the confirmation, before the first poll");
    assert_eq!(read(&mut subscriber), ["joined"], "the hello names the head at the time it is made");
    say(&fixture, "one");
    say(&fixture, "two");
    assert_eq!(read_short(&mut subscriber), ["one", "two"]);
    assert_eq!(next(&mut subscriber), Poll::Pending);
}

#[test]
fn a_frame_is_encoded_once_and_shared() {
    let fixture = fixture();
    let (mut one, mut two) = (joined(&fixture), joined(&fixture));
    say(&fixture, "x");
    let (Poll::Ready(Next::Frame(one)), Poll::Ready(Next::Frame(two))) = (next(&mut one), next(&mut two))
    else {
        panic!("both get the frame");
    };
    assert_eq!(one.as_ptr(), two.as_ptr());
}

#[test]
fn one_subscription_for_all_who_share_a_workspace() {
    let fixture = fixture();
    let first = joined(&fixture);
    assert_eq!(fixture.interest.take_changes().len(), 1);
    let second = joined(&fixture);
    assert!(fixture.interest.take_changes().is_empty());
    assert_eq!(fixture.metrics.subscribers.get(), 2);
    drop((first, second));
    assert_eq!(fixture.metrics.subscribers.get(), 0);
}

#[test]
fn a_workspace_is_released_after_the_linger_and_not_while_someone_is_there() {
    let fixture = fixture();
    let subscriber = joined(&fixture);
    fixture.interest.take_changes();
    let later = Instant::now() + Duration::from_secs(3600);
    assert_eq!(fixture.hub.sweep(later), 0);
    drop(subscriber);
    assert_eq!(fixture.hub.sweep(Instant::now() + Duration::from_secs(29)), 0);
    let back = fixture.hub.join(&acme(), None, View::default());
    assert_eq!(fixture.hub.sweep(later), 0, "someone came back in time");
    drop(back);
    assert_eq!(fixture.hub.sweep(later), 1);
    assert_eq!(fixture.interest.take_changes()[&acme()], Change::Release);
    assert_eq!(fixture.metrics.workspaces.get(), 0);
    say(&fixture, "nobody is here, and that is fine");
}

#[test]
fn whoever_falls_out_of_the_ring_lags_and_others_do_not_notice() {
    let fixture = fixture();
    let (mut slow, mut quick) = (joined(&fixture), joined(&fixture));
    for number in 0..5 {
        say(&fixture, &number.to_string());
        assert_eq!(read_short(&mut quick), [number.to_string()]);
    }
    assert_eq!(read(&mut slow), ["lagging"]);
    say(&fixture, "5");
    assert_eq!(read_short(&mut quick), ["5"]);
}

#[test]
fn a_subscriber_that_is_exactly_one_ring_behind_still_gets_everything() {
    let fixture = fixture();
    let mut slow = joined(&fixture);
    for number in 0..4 {
        say(&fixture, &number.to_string());
    }
    assert_eq!(read_short(&mut slow), ["0", "1", "2", "3"]);
}

#[test]
fn resuming_from_the_ring_brings_what_was_missed_in_order() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    say(&fixture, "a");
    assert_eq!(read_short(&mut subscriber), ["a"]);
    let seen = position(&subscriber);
    drop(subscriber);
    say(&fixture, "b");
    log(&fixture, 7, 0, "c");
    let mut back = fixture.hub.join(&acme(), Some(Resume::new(&seen)), View::default());
    assert_eq!(
        next(&mut back),
        Poll::Ready(Next::Joined(Joined::Resumed { position: seen.parse().unwrap() }))
    );
    assert_eq!(read_short(&mut back), ["b", "c"]);
    assert_eq!(position(&back), "7-0");
    let mut again = fixture.hub.join(&acme(), Some(Resume::new("7-0")), View::default());
    assert_eq!(read(&mut again), ["resumed"]);
}

#[test]
fn a_position_that_cannot_be_proven_is_told_and_the_head_is_where_it_goes_on() {
    let fixture = fixture();
    let mut other = joined(&fixture);
    log(&fixture, 7, 0, "a");
    for unknown in ["6-0", "8-0", "0-0~abcdefgh.1", "7-0~abcdefgh.1", "nonsense", "🦀"] {
        let mut subscriber = fixture.hub.join(&acme(), Some(Resume::new(unknown)), View::default());
        let Poll::Ready(Next::Joined(Joined::Unproven { from, head })) = next(&mut subscriber) else {
            panic!("{unknown} must not be taken for a known position");
        };
        assert_eq!((&*from, head.to_string().as_str()), (unknown, "7-0"));
        assert_eq!(next(&mut subscriber), Poll::Pending);
    }
    assert_eq!(fixture.metrics.resets(ResetReason::UnknownPosition), 6);
    assert_eq!(read_short(&mut other), ["a"], "only the one who came back is told");
}

#[test]
fn a_position_of_a_former_life_of_the_workspace_is_unknown() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    say(&fixture, "a");
    read(&mut subscriber);
    let seen = position(&subscriber);
    drop(subscriber);
    fixture.hub.sweep(Instant::now() + Duration::from_secs(60));
    let mut back = fixture.hub.join(&acme(), Some(Resume::new(&seen)), View::default());
    fixture.hub.confirmed(&acme());
    say(&fixture, "b");
    assert_eq!(read(&mut back)[0], "unproven");
}

#[test]
fn an_interruption_is_told_once_to_everyone_when_it_is_over() {
    let fixture = fixture();
    let mut live = joined(&fixture);
    assert!(live.is_live());
    fixture.hub.interrupted();
    assert!(!live.is_live());
    let mut held = fixture.hub.join(&acme(), None, View::default());
    assert_eq!(next(&mut live), Poll::Pending);
    assert_eq!(next(&mut held), Poll::Pending, "no hello while the link is down");
    fixture.hub.interrupted();
    fixture.hub.confirmed(&acme());
    assert_eq!(read_short(&mut live), ["reset:interrupted"]);
    assert_eq!(read(&mut held), ["joined"], "who joins after the interruption has missed nothing");
    fixture.hub.confirmed(&acme());
    assert_eq!(next(&mut live), Poll::Pending, "a repeated confirmation says nothing new");
}

#[test]
fn who_resumes_across_an_interruption_is_told_too() {
    let fixture = fixture();
    let subscriber = joined(&fixture);
    let seen = position(&subscriber);
    drop(subscriber);
    fixture.hub.interrupted();
    fixture.hub.confirmed(&acme());
    let mut back = fixture.hub.join(&acme(), Some(Resume::new(&seen)), View::default());
    assert_eq!(read_short(&mut back), ["resumed", "reset:interrupted"]);
}

#[test]
fn a_refusal_ends_subscribers_and_the_next_one_makes_the_bus_try_again() {
    let fixture = fixture();
    let mut live = joined(&fixture);
    let seen = position(&live);
    fixture.hub.interrupted();
    fixture.hub.refused(&acme(), "NOPERM");
    assert_eq!(read(&mut live), ["refused"]);
    drop(live);
    fixture.interest.take_changes();
    let mut back = fixture.hub.join(&acme(), Some(Resume::new(&seen)), View::default());
    assert_eq!(fixture.interest.take_changes()[&acme()], Change::Want);
    assert_eq!(next(&mut back), Poll::Pending);
    fixture.hub.confirmed(&acme());
    assert_eq!(read_short(&mut back), ["resumed", "reset:interrupted"], "what was missed meanwhile is told");
}

#[test]
fn a_gap_between_logged_events_is_told_before_the_event() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, 3, "first that is seen: there is nothing to compare with");
    log(&fixture, 6, 5, "next");
    log(&fixture, 6, 5, "next, announced twice");
    log(&fixture, 9, 8, "one is missing");
    let got = read_short(&mut subscriber);
    assert_eq!(
        got,
        ["first that is seen: there is nothing to compare with", "next", "reset:gap", "one is missing"]
    );
    assert_eq!(position(&subscriber), "9-0");
}

#[test]
fn live_events_stand_after_the_last_logged_one() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, 0, "logged");
    say(&fixture, "live");
    assert_eq!(read_short(&mut subscriber), ["logged", "live"]);
    let position: Position = position(&subscriber).parse().unwrap();
    assert_eq!(position.entry, EntryId { milliseconds: 5, sequence: 0 });
    assert!(position.live.is_some());
}

#[test]
fn what_cannot_be_delivered_is_counted_and_told() {
    let fixture = fixture_with(HubSettings {
        ring_events: 100,
        ring_bytes: 1 << 20,
        event_bytes: 4,
        linger: Duration::ZERO,
    });
    let mut subscriber = joined(&fixture);
    say(&fixture, "1234");
    say(&fixture, "12345");
    fixture.hub.message(&acme(), Bytes::from_static(b"\xff"));
    say(&fixture, "tidings/1 nonsense");
    say(&fixture, "");
    log(&fixture, 5, 0, "too large for the limit");
    log(&fixture, 6, 5, "ok");
    assert_eq!(
        read_short(&mut subscriber),
        [
            "1234",
            "reset:too-large",
            "reset:not-utf8",
            "reset:bad-envelope",
            "reset:unread-log",
            "reset:too-large",
            "ok"
        ]
    );
    assert_eq!(fixture.metrics.dropped(ResetReason::TooLarge), 2);
    assert_eq!(fixture.metrics.dropped(ResetReason::NotUtf8), 1);
    assert_eq!(fixture.metrics.dropped(ResetReason::BadEnvelope), 1);
}

#[test]
fn a_filter_holds_events_back_but_the_position_moves_on() {
    let fixture = fixture();
    let view = View { types: Some(TypeFilter::parse("A").unwrap()), named: false };
    let mut subscriber = fixture.hub.join(&acme(), None, view);
    fixture.hub.confirmed(&acme());
    read(&mut subscriber);
    log(&fixture, 5, 0, r#"{"type":"A"}"#);
    log(&fixture, 6, 5, r#"{"type":"B"}"#);
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

#[test]
fn many_come_and_go_and_nothing_stays() {
    let fixture = fixture();
    let keep = joined(&fixture);
    for _ in 0..10_000 {
        drop(fixture.hub.join(&acme(), None, View::default()));
    }
    assert_eq!(fixture.metrics.subscribers.get(), 1);
    drop(keep);
    assert_eq!(fixture.metrics.subscribers.get(), 0);
    assert_eq!(fixture.hub.sweep(Instant::now() + Duration::from_secs(60)), 1);
    assert_eq!(fixture.hub.workspaces(), 0);
}
