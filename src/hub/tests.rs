//! The hub by itself: no bus, no sockets, no runtime.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::model_log::ModelLog;
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
    log: Mutex<ModelLog>,
}

fn fixture() -> Fixture {
    fixture_with(HubSettings {
        ring_events: 4,
        ring_bytes: 1 << 20,
        event_bytes: 64,
        linger: Duration::from_secs(30),
        workspaces: 100,
    })
}

fn fixture_with(settings: HubSettings) -> Fixture {
    let interest = Arc::new(Interest::default());
    let metrics = Arc::new(Metrics::new());
    let hub = Hub::new(NodeId::random(), settings, Arc::clone(&interest), Arc::clone(&metrics));
    Fixture { hub, interest, metrics, log: Mutex::default() }
}

impl Fixture {
    fn join(&self, start: Start) -> Subscriber {
        self.hub.join(&acme(), start, View::default()).unwrap()
    }

    /// Answers every read that the hub wants, and those that the answers lead to.
    fn answer_reads(&self) -> usize {
        let mut count = 0;
        while let Some(read) = self.hub.reads().take() {
            self.hub.answer(&read, self.log.lock().read(read.span, 3));
            count += 1;
        }
        count
    }

    /// The subscription is confirmed, and the log is read.
    fn confirm(&self) {
        self.hub.confirmed(&acme());
        self.answer_reads();
    }
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
                Joined::Newest => "newest".to_owned(),
                Joined::Unproven { reason, .. } => format!("unproven:{}", reason.as_str()),
            },
            Next::Event(bytes) | Next::Notice(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Next::Lagging => "lagging".to_owned(),
            Next::Unavailable => "unavailable".to_owned(),
        });
        if matches!(got.last().map(String::as_str), Some("lagging" | "unavailable")) {
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

fn entry(id: u64) -> EntryId {
    EntryId { milliseconds: id, sequence: 0 }
}

/// Logs an event and announces it.
fn log(fixture: &Fixture, id: u64, payload: &str) {
    let previous = fixture.log.lock().append(entry(id), payload);
    fixture.hub.message(&acme(), envelope::encode(entry(id), previous, payload.as_bytes()));
}

/// Logs an event whose announcement is lost.
fn log_unannounced(fixture: &Fixture, id: u64, payload: &str) {
    fixture.log.lock().append(entry(id), payload);
}

fn resume(fixture: &Fixture, from: &str) -> Subscriber {
    fixture.join(Start::After(Resume::new(from)))
}

/// What a subscriber gets once the reads that it causes are answered.
fn read_all(fixture: &Fixture, subscriber: &mut Subscriber) -> Vec<String> {
    let mut got = read_short(subscriber);
    while fixture.answer_reads() > 0 {
        got.extend(read_short(subscriber));
    }
    got
}

/// A subscriber of a confirmed workspace that has had its hello.
fn joined(fixture: &Fixture) -> Subscriber {
    let mut subscriber = fixture.join(Start::Head);
    fixture.confirm();
    assert_eq!(read(&mut subscriber), ["joined"]);
    subscriber
}

fn position(subscriber: &Subscriber) -> String {
    subscriber.position().unwrap().to_string()
}

#[test]
fn the_hello_waits_for_the_confirmation_and_nothing_after_it_is_missed() {
    let fixture = fixture();
    let mut subscriber = fixture.join(Start::Head);
    assert_eq!(fixture.interest.take_changes()[&acme()], Change::Want);
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
    let back = fixture.join(Start::Head);
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
fn resuming_from_the_ring_brings_what_was_missed_in_order_without_reading_the_log() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    say(&fixture, "a");
    assert_eq!(read_short(&mut subscriber), ["a"]);
    let seen = position(&subscriber);
    drop(subscriber);
    say(&fixture, "b");
    log(&fixture, 7, "c");
    let mut back = resume(&fixture, &seen);
    assert_eq!(
        next(&mut back),
        Poll::Ready(Next::Joined(Joined::Resumed { position: Some(seen.parse().unwrap()) }))
    );
    assert_eq!(read_short(&mut back), ["b", "c"]);
    assert_eq!(position(&back), "7-0");
    let mut again = resume(&fixture, "7-0");
    assert_eq!(read(&mut again), ["resumed"]);
    assert_eq!(fixture.answer_reads(), 0);
}

#[test]
fn resuming_from_the_log_goes_over_into_the_ring_without_gap_or_repetition() {
    let fixture = fixture();
    for id in 1..=9 {
        log_unannounced(&fixture, id, &id.to_string());
    }
    let _keeps_the_workspace = joined(&fixture);
    for id in 10..=13 {
        log(&fixture, id, &id.to_string());
    }
    let mut back = resume(&fixture, "2-0");
    let expected: Vec<_> =
        std::iter::once("resumed".to_owned()).chain((3..=13).map(|id| id.to_string())).collect();
    assert_eq!(read_all(&fixture, &mut back), expected);
    log(&fixture, 14, "14");
    assert_eq!(read_short(&mut back), ["14"]);
}

#[test]
fn a_log_that_is_ahead_of_the_channel_brings_nothing_twice() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let mut live = joined(&fixture);
    log_unannounced(&fixture, 2, "2");
    log_unannounced(&fixture, 3, "3");
    let mut back = resume(&fixture, "0-5");
    fixture.log.lock().append_before(EntryId { milliseconds: 0, sequence: 5 });
    assert_eq!(read_all(&fixture, &mut back), ["resumed", "1", "2", "3"]);
    for (id, previous) in [(2, 1), (3, 2)] {
        fixture.hub.message(&acme(), envelope::encode(entry(id), entry(previous), id.to_string().as_bytes()));
    }
    assert_eq!(next(&mut back), Poll::Pending, "it had these from the log");
    assert_eq!(read_short(&mut live), ["2", "3"]);
    log(&fixture, 4, "4");
    assert_eq!(read_short(&mut back), ["4"]);
}

#[test]
fn all_who_come_back_to_one_place_share_one_read() {
    let fixture = fixture();
    for id in 1..=3 {
        log_unannounced(&fixture, id, &id.to_string());
    }
    let _keeps_the_workspace = joined(&fixture);
    let mut crowd: Vec<_> = (0..1000).map(|_| resume(&fixture, "1-0")).collect();
    for subscriber in &mut crowd {
        assert_eq!(next(subscriber), Poll::Pending);
    }
    assert_eq!(fixture.answer_reads(), 1);
    for subscriber in &mut crowd {
        assert_eq!(read_short(subscriber), ["resumed", "2", "3"]);
    }
    let mut late = resume(&fixture, "1-0");
    assert_eq!(read_short(&mut late), ["resumed", "2", "3"]);
    assert_eq!(fixture.answer_reads(), 0);
}

#[test]
fn a_position_that_cannot_be_proven_is_told_and_the_head_is_where_it_goes_on() {
    let fixture = fixture();
    let mut other = joined(&fixture);
    log(&fixture, 7, "a");
    for (unknown, reason) in [
        ("6-0", "trimmed"),
        ("8-0", "rolled-back"),
        ("0-0~abcdefgh.1", "unknown-position"),
        ("7-0~abcdefgh.1", "unknown-position"),
        ("nonsense", "unknown-position"),
        ("🦀", "unknown-position"),
    ] {
        let mut subscriber = resume(&fixture, unknown);
        assert_eq!(read_all(&fixture, &mut subscriber), [format!("unproven:{reason}")], "{unknown}");
        assert_eq!(position(&subscriber), "7-0");
        assert_eq!(next(&mut subscriber), Poll::Pending);
    }
    assert_eq!(fixture.metrics.resets(ResetReason::UnknownPosition), 4);
    assert_eq!(read_short(&mut other), ["a"], "only the one who came back is told");
}

#[test]
fn a_client_that_was_away_from_live_events_too_is_told() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    log_unannounced(&fixture, 2, "2");
    let _other = joined(&fixture);
    say(&fixture, "live");
    let mut back = resume(&fixture, "1-0");
    assert_eq!(read_all(&fixture, &mut back), ["resumed", "2", "reset:live-events", "live"]);
}

#[test]
fn a_first_connection_may_begin_in_the_past() {
    let fixture = fixture();
    for id in 1..=5 {
        log_unannounced(&fixture, id, &id.to_string());
    }
    let _other = joined(&fixture);
    let begin = |start| fixture.join(start);
    let mut newest = begin(Start::Newest { count: 2 });
    assert_eq!(read_all(&fixture, &mut newest), ["newest", "4", "5"]);
    let mut since = begin(Start::Since { milliseconds: 3 });
    assert_eq!(read_all(&fixture, &mut since), ["resumed", "3", "4", "5"]);
    let mut since_later = begin(Start::Since { milliseconds: 9 });
    assert_eq!(read_all(&fixture, &mut since_later), ["resumed"]);
    fixture.log.lock().trim(2);
    let mut too_early = begin(Start::Since { milliseconds: 2 });
    assert_eq!(read_all(&fixture, &mut too_early), ["unproven:trimmed"]);
    log(&fixture, 6, "6");
    for subscriber in [&mut newest, &mut since, &mut since_later, &mut too_early] {
        assert_eq!(read_short(subscriber), ["6"]);
    }
}

#[test]
fn a_log_that_cannot_be_reached_or_read() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let mut live = joined(&fixture);
    fixture.log.lock().failure = Some(LogError::Unavailable("away".to_owned()));
    let mut back = resume(&fixture, "0-7");
    assert_eq!(read_all(&fixture, &mut back), ["unavailable"], "coming back later may help");
    fixture.log.lock().failure = Some(LogError::Unreadable("WRONGTYPE".to_owned()));
    let mut other = resume(&fixture, "0-8");
    assert_eq!(read_all(&fixture, &mut other), ["unproven:log-unreadable"]);
    log_unannounced(&fixture, 2, "2");
    log(&fixture, 3, "3");
    assert_eq!(
        read_all(&fixture, &mut live),
        ["reset:log-unreadable", "3"],
        "a gap that cannot be filled is told"
    );
    log(&fixture, 4, "4");
    assert_eq!(read_short(&mut live), ["4"]);
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
    let mut back = resume(&fixture, &seen);
    fixture.confirm();
    say(&fixture, "b");
    assert_eq!(read(&mut back)[0], "unproven:unknown-position");
}

#[test]
fn an_interruption_is_told_once_to_everyone_when_live_events_may_be_lost() {
    let fixture = fixture();
    let mut live = joined(&fixture);
    assert!(live.is_live());
    fixture.hub.interrupted();
    assert!(!live.is_live());
    let mut held = fixture.join(Start::Head);
    assert_eq!(next(&mut live), Poll::Pending);
    assert_eq!(next(&mut held), Poll::Pending, "no hello while the link is down");
    fixture.hub.interrupted();
    fixture.confirm();
    assert_eq!(read_short(&mut live), ["reset:interrupted"]);
    assert_eq!(read(&mut held), ["joined"], "who joins after the interruption has missed nothing");
    fixture.confirm();
    assert_eq!(next(&mut live), Poll::Pending, "a repeated confirmation says nothing new");
}

#[test]
fn after_an_interruption_the_log_brings_what_was_missed() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let mut live = joined(&fixture);
    fixture.hub.interrupted();
    for id in 2..=9 {
        log_unannounced(&fixture, id, &id.to_string());
    }
    fixture.hub.confirmed(&acme());
    log(&fixture, 10, "10");
    let mut got = Vec::new();
    while let Some(read) = fixture.hub.reads().take() {
        fixture.hub.answer(&read, fixture.log.lock().read(read.span, 3));
        got.extend(read_short(&mut live));
    }
    assert_eq!(got, ["2", "3", "4", "5", "6", "7", "8", "9", "10"]);
}

#[test]
fn an_answer_from_before_an_interruption_is_not_taken_for_one_after_it() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let mut live = joined(&fixture);
    fixture.hub.interrupted();
    fixture.hub.confirmed(&acme());
    let stale = fixture.hub.reads().take().unwrap();
    let page = fixture.log.lock().read(stale.span, 3);
    fixture.hub.interrupted();
    log_unannounced(&fixture, 2, "2");
    fixture.hub.confirmed(&acme());
    fixture.hub.answer(&stale, page);
    assert_eq!(next(&mut live), Poll::Pending);
    fixture.answer_reads();
    assert_eq!(read_short(&mut live), ["2"]);
}

#[test]
fn a_log_that_lost_what_was_known_is_told_after_an_interruption() {
    for (lose, reason) in [
        (ModelLog::roll_back as fn(&mut ModelLog, usize), "rolled-back"),
        (ModelLog::trim as fn(&mut ModelLog, usize), "trimmed"),
    ] {
        let fixture = fixture();
        log_unannounced(&fixture, 1, "1");
        log_unannounced(&fixture, 2, "2");
        let mut live = joined(&fixture);
        fixture.hub.interrupted();
        lose(&mut fixture.log.lock(), 1);
        if reason == "trimmed" {
            log_unannounced(&fixture, 3, "3");
            fixture.log.lock().trim(1);
        }
        fixture.confirm();
        assert_eq!(read_short(&mut live), [format!("reset:{reason}")]);
        log(&fixture, 4, "4");
        assert_eq!(read_short(&mut live), ["4"]);
    }
}

/// A subscriber that reads the log may be ahead of what the node was told. If just that is lost in a failover, the node does
/// not notice.
#[test]
fn who_has_read_ahead_of_the_node_what_a_failover_loses_is_told() {
    for reads_on_after_failover in [false, true] {
        let fixture = fixture();
        log_unannounced(&fixture, 1, "1");
        log_unannounced(&fixture, 2, "2");
        let _other = joined(&fixture);
        log_unannounced(&fixture, 5, "5");
        log_unannounced(&fixture, 8, "8");
        let mut subscriber = resume(&fixture, "1-0");
        if reads_on_after_failover {
            // It has the page, and has read a part of it.
            assert!(next(&mut subscriber).is_pending());
            fixture.answer_reads();
            assert!(matches!(next(&mut subscriber), Poll::Ready(Next::Joined(Joined::Resumed { .. }))));
        } else {
            assert_eq!(read_all(&fixture, &mut subscriber), ["resumed", "2", "5", "8"]);
        }
        fixture.hub.interrupted();
        fixture.log.lock().roll_back(2);
        fixture.confirm();
        // The clock of the new server is behind.
        log(&fixture, 3, "3");
        let got = read_all(&fixture, &mut subscriber);
        let told = if reads_on_after_failover {
            vec!["2", "5", "8", "reset:rolled-back"]
        } else {
            vec!["reset:rolled-back"]
        };
        assert_eq!(got, told);
        log(&fixture, 4, "4");
        assert_eq!(read_all(&fixture, &mut subscriber), ["4"]);
    }
}

#[test]
fn who_begins_in_the_past_of_an_empty_log_misses_nothing_after_the_hello() {
    for start in [Start::Since { milliseconds: 1 }, Start::Newest { count: 3 }] {
        let fixture = fixture();
        let mut subscriber = fixture.join(start.clone());
        fixture.confirm();
        assert!(next(&mut subscriber).is_pending());
        fixture.answer_reads();
        assert!(matches!(next(&mut subscriber), Poll::Ready(Next::Joined(_))));
        log(&fixture, 7, "after the hello");
        assert_eq!(read_all(&fixture, &mut subscriber), ["after the hello"], "{start:?}");
    }
}

#[test]
fn a_gap_in_a_log_that_cannot_be_read_is_told_up_to_the_event_after_it() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "1");
    let mut subscriber = joined(&fixture);
    log_unannounced(&fixture, 2, "2");
    log_unannounced(&fixture, 3, "3");
    fixture.log.lock().failure = Some(LogError::Unreadable("no permission".to_owned()));
    log(&fixture, 4, "4");
    fixture.answer_reads();
    let got = read(&mut subscriber).join("");
    assert!(got.contains(r#"{"from":"1-0","head":"3-0","reason":"log-unreadable"}"#), "{got}");
    assert!(got.ends_with("id: 4-0\ndata: 4\n\n"), "{got}");
}

#[test]
fn who_resumes_across_an_interruption_is_told_too() {
    let fixture = fixture();
    let subscriber = joined(&fixture);
    let seen = position(&subscriber);
    drop(subscriber);
    fixture.hub.interrupted();
    fixture.confirm();
    let mut back = resume(&fixture, &seen);
    assert_eq!(read_short(&mut back), ["resumed", "reset:interrupted"]);
}

#[test]
fn a_refusal_ends_subscribers_and_the_next_one_makes_the_bus_try_again() {
    let fixture = fixture();
    let mut live = joined(&fixture);
    let seen = position(&live);
    fixture.hub.interrupted();
    fixture.hub.refused(&acme(), "NOPERM");
    assert_eq!(read(&mut live), ["unavailable"]);
    drop(live);
    fixture.interest.take_changes();
    let mut back = resume(&fixture, &seen);
    assert_eq!(fixture.interest.take_changes()[&acme()], Change::Want);
    assert_eq!(next(&mut back), Poll::Pending);
    fixture.confirm();
    assert_eq!(read_short(&mut back), ["resumed", "reset:interrupted"], "what was missed meanwhile is told");
}

#[test]
fn a_gap_is_filled_from_the_log_before_the_event_goes_out() {
    let settings = HubSettings {
        ring_events: 10,
        ring_bytes: 1 << 20,
        event_bytes: 64,
        linger: Duration::ZERO,
        workspaces: 100,
    };
    let fixture = fixture_with(settings);
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    log_unannounced(&fixture, 6, "6");
    log_unannounced(&fixture, 7, "7");
    say(&fixture, "live, before the gap shows");
    log(&fixture, 8, "8");
    say(&fixture, "live, after it");
    log(&fixture, 9, "9");
    let got = read_all(&fixture, &mut subscriber);
    assert_eq!(got, ["5", "live, before the gap shows", "6", "7", "8", "live, after it", "9"]);
}

#[test]
fn an_announcement_that_comes_twice_is_taken_once() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    fixture.hub.message(&acme(), envelope::encode(entry(5), EntryId::ZERO, b"5"));
    assert_eq!(read_all(&fixture, &mut subscriber), ["5"]);
}

#[test]
fn an_empty_message_means_to_look_at_the_log() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    for id in 1..=2 {
        log_unannounced(&fixture, id, &id.to_string());
        say(&fixture, "");
    }
    assert_eq!(
        fixture.answer_reads(),
        2,
        "both looks were needed: the second came after the first read was asked for"
    );
    assert_eq!(read_short(&mut subscriber), ["1", "2"]);
}

/// A ring in which everything that these tests publish finds room.
fn roomy() -> Fixture {
    fixture_with(HubSettings {
        ring_events: 30,
        ring_bytes: 1 << 20,
        event_bytes: 64,
        linger: Duration::ZERO,
        workspaces: 100,
    })
}

#[test]
fn messages_that_wait_for_the_log_are_bounded_and_a_loss_among_them_is_told() {
    let fixture = roomy();
    let mut subscriber = joined(&fixture);
    log_unannounced(&fixture, 1, "1");
    log(&fixture, 2, "2");
    for number in 0..40 {
        say(&fixture, &format!("live {number}"));
    }
    let got = read_all(&fixture, &mut subscriber);
    assert!(got.starts_with(&["1".to_owned()]) && got.contains(&"2".to_owned()), "{got:?}");
    assert!(got.contains(&"reset:overflow".to_owned()), "{got:?}");
    log(&fixture, 3, "3");
    assert!(read_all(&fixture, &mut subscriber).ends_with(&["3".to_owned()]));
}

#[test]
fn logged_events_among_messages_that_could_not_wait_are_read() {
    let fixture = roomy();
    let mut subscriber = joined(&fixture);
    log_unannounced(&fixture, 1, "1");
    log(&fixture, 2, "2");
    for id in 3..=20 {
        log(&fixture, id, &id.to_string());
    }
    for number in 0..13 {
        say(&fixture, &format!("live {number}"));
    }
    let got = read_all(&fixture, &mut subscriber);
    let logged: Vec<_> =
        got.iter().filter(|text| !text.contains("live") && !text.contains("reset")).collect();
    assert_eq!(
        logged,
        (1..=20).map(|id| id.to_string()).collect::<Vec<_>>().iter().collect::<Vec<_>>(),
        "{got:?}"
    );
}

#[test]
fn an_interruption_is_told_unless_the_workspace_has_shown_that_it_logs_what_it_carries() {
    let fixture = fixture();
    log_unannounced(&fixture, 1, "long ago, by who knows whom");
    let mut live = joined(&fixture);
    fixture.hub.interrupted();
    fixture.confirm();
    assert_eq!(read_short(&mut live), ["reset:interrupted"]);
    log(&fixture, 2, "2");
    fixture.hub.interrupted();
    fixture.confirm();
    assert_eq!(read_short(&mut live), ["2"]);
}

#[test]
fn an_interruption_is_told_also_where_the_log_could_never_be_read() {
    let fixture = fixture();
    fixture.log.lock().failure = Some(LogError::Unreadable("WRONGTYPE".to_owned()));
    let mut live = joined(&fixture);
    say(&fixture, "a");
    fixture.hub.interrupted();
    fixture.confirm();
    assert_eq!(read_short(&mut live), ["a", "reset:interrupted"]);
    say(&fixture, "");
    assert_eq!(read_short(&mut live), ["reset:log-unreadable"], "what is new in it cannot be told");
}

#[test]
fn an_empty_page_that_is_kept_hides_nothing_that_came_since() {
    let fixture = fixture();
    let _keeps_the_workspace = joined(&fixture);
    let since = || fixture.join(Start::Since { milliseconds: 5 });
    let mut first = since();
    assert_eq!(read_all(&fixture, &mut first), ["resumed"]);
    log(&fixture, 7, "7");
    let mut second = since();
    assert_eq!(read_all(&fixture, &mut second), ["resumed", "7"]);
    let mut newest = fixture.join(Start::Newest { count: 3 });
    assert_eq!(read_all(&fixture, &mut newest), ["newest", "7"]);
}

#[test]
fn workspaces_are_bounded_and_those_that_only_linger_make_room() {
    let fixture = fixture();
    let join = |number: u32| {
        let id = WorkspaceId::parse(&number.to_string()).unwrap();
        fixture.hub.join(&id, Start::Head, View::default())
    };
    drop((0..99).map(|number| join(number).unwrap()).collect::<Vec<_>>());
    let held: Vec<_> = (100..200).map(|number| join(number).unwrap()).collect();
    assert_eq!(join(1).unwrap_err(), Full);
    assert!(join(150).is_ok(), "one that is there already takes no room");
    drop(held);
    assert!(join(1).is_ok());
}

#[test]
fn clients_cannot_have_ever_more_places_read() {
    let fixture = fixture();
    log_unannounced(&fixture, 1000, "x");
    let _keeps_the_workspace = joined(&fixture);
    let mut clients: Vec<_> = (0..200).map(|place| resume(&fixture, &format!("{place}-7"))).collect();
    let outcomes: Vec<_> = clients.iter_mut().map(next).collect();
    let refused = outcomes.iter().filter(|outcome| **outcome == Poll::Ready(Next::Unavailable)).count();
    assert_eq!(refused, 200 - 64);
    assert_eq!(fixture.answer_reads(), 64);
}

#[test]
fn live_events_stand_after_the_last_logged_one() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "logged");
    say(&fixture, "live");
    assert_eq!(read_short(&mut subscriber), ["logged", "live"]);
    let position: Position = position(&subscriber).parse().unwrap();
    assert_eq!(position.entry, entry(5));
    assert!(position.live.is_some());
}

#[test]
fn what_cannot_be_delivered_is_counted_and_told() {
    let fixture = fixture_with(HubSettings {
        ring_events: 100,
        ring_bytes: 1 << 20,
        event_bytes: 4,
        linger: Duration::ZERO,
        workspaces: 100,
    });
    let mut subscriber = joined(&fixture);
    say(&fixture, "1234");
    say(&fixture, "12345");
    fixture.hub.message(&acme(), Bytes::from_static(b"\xff"));
    say(&fixture, "tidings/1 nonsense");
    log(&fixture, 5, "too large for the limit");
    log(&fixture, 6, "ok");
    assert_eq!(
        read_short(&mut subscriber),
        ["1234", "reset:too-large", "reset:not-utf8", "reset:bad-envelope", "reset:too-large", "ok"]
    );
    assert_eq!(fixture.metrics.dropped(ResetReason::TooLarge), 2);
    assert_eq!(fixture.metrics.dropped(ResetReason::NotUtf8), 1);
    assert_eq!(fixture.metrics.dropped(ResetReason::BadEnvelope), 1);
}

#[test]
fn who_has_not_seen_a_reset_gets_it_after_resuming_at_the_event_before_it() {
    let fixture = fixture();
    let mut subscriber = joined(&fixture);
    log(&fixture, 5, "5");
    assert_eq!(read_short(&mut subscriber), ["5"]);
    say(&fixture, "tidings/1 nonsense");
    log(&fixture, 6, "6");
    let mut back = resume(&fixture, "5-0");
    assert_eq!(read_short(&mut back), ["resumed", "reset:bad-envelope", "6"]);
}

#[test]
fn a_filter_holds_events_back_but_the_position_moves_on() {
    let fixture = fixture();
    let view = View { types: Some(TypeFilter::parse("A").unwrap()), named: false };
    let mut subscriber = fixture.hub.join(&acme(), Start::Head, view).unwrap();
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

#[test]
fn many_come_and_go_and_nothing_stays() {
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
