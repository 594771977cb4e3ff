//! The hub alone: no bus, no sockets, no runtime.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::model_log::ModelLog;
use super::*;
use tidings_event::SubscriptionChange;
use tidings_event::control::ResetReason;
use tidings_event::envelope;
use tidings_event::log::{LiveMark, Span};
use tidings_event::{EntryId, Position};

mod addressing;
mod bounds;
mod following;
mod joining;
mod lifecycle;
mod losses;
mod mixed;
mod new_logs;
mod pacing;
mod pages;
mod replaying;
mod watching;

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
    desired_subscriptions: Arc<DesiredSubscriptions>,
    metrics: Arc<Metrics>,
    log: Mutex<ModelLog>,
}

fn fixture() -> Fixture {
    fixture_with(settings())
}

fn settings() -> HubSettings {
    HubSettings {
        ring_events: 4,
        ring_bytes: 1 << 20,
        ring_bytes_in_all: 1 << 30,
        replay_bytes: 1 << 30,
        rates: Rates::default(),
        event_bytes: 64,
        linger: Duration::from_secs(30),
        workspaces: 100,
        live: LiveEvents::Auto,
        retention: Duration::MAX,
        traces_in_streams: false,
    }
}

fn fixture_with(settings: HubSettings) -> Fixture {
    let desired_subscriptions = Arc::new(DesiredSubscriptions::default());
    let metrics = Arc::new(Metrics::new());
    let hub = Hub::new(NodeId::random(), settings, Arc::clone(&desired_subscriptions), Arc::clone(&metrics));
    Fixture { hub, desired_subscriptions, metrics, log: Mutex::default() }
}

impl Fixture {
    fn join(&self, start: Start) -> Subscriber {
        self.hub.join(&acme(), start, SubscriptionFilter::default()).unwrap()
    }

    /// Completes every read that the hub needs, and those that follow from the results, after it
    /// has written the marks. Looks at a mark do not count.
    fn complete_reads(&self) -> usize {
        let mut count = 0;
        self.write_marks();
        while let Some(read) = self.hub.read_queue().take() {
            self.hub.answer(&read, self.log.lock().read(read.span, 3));
            count += usize::from(read.span != Span::LiveMark);
        }
        count
    }

    /// Writes the marks of live events that the hub needs, each right beyond the newest entry.
    fn write_marks(&self) {
        while self.hub.marks().take().is_some() {
            let mut log = self.log.lock();
            log.live = LiveMark::Until(log.head().milliseconds + 1);
        }
    }

    /// Confirms the subscription and completes the reads.
    fn confirm(&self) {
        self.hub.confirmed(&acme());
        self.complete_reads();
    }
}

fn acme() -> WorkspaceId {
    WorkspaceId::parse("acme").unwrap()
}

fn next(subscriber: &mut Subscriber) -> Poll<Next> {
    subscriber.poll_next(&Context::from_waker(Waker::noop()))
}

/// Returns all items of a subscriber as text; the `connected` event as `joined`.
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
            Next::Watched(bytes, watch) => {
                watch.deliver(1, Instant::now(), None);
                String::from_utf8(bytes.to_vec()).unwrap()
            }
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

/// Returns the payloads that a subscriber gets, and the names of the broker's events.
///
/// Heartbeats are left out.
fn read_short(subscriber: &mut Subscriber) -> Vec<String> {
    let short = |frame: String| match frame.split_once("event: tidings.") {
        Some((_, rest)) => {
            let name = rest.lines().next().unwrap_or_default();
            let reason = rest.split_once("\"reason\":\"").and_then(|(_, rest)| rest.split('"').next());
            format!("{name}:{}", reason.unwrap_or_default())
        }
        None => frame.split_once("data: ").map_or(frame.clone(), |(_, rest)| rest.trim_end().to_owned()),
    };
    read(subscriber).into_iter().map(short).filter(|text| text != "heartbeat:").collect()
}

fn send_message(fixture: &Fixture, payload: &str) {
    fixture.hub.message(&acme(), Bytes::from(payload.to_owned()));
}

fn entry(id: u64) -> EntryId {
    EntryId { milliseconds: id, sequence: 0 }
}

/// Logs an event and announces it.
fn log(fixture: &Fixture, id: u64, payload: &str) {
    let previous = fixture.log.lock().append(entry(id), payload);
    fixture.hub.message(&acme(), envelope::encode(entry(id), previous, payload.as_bytes(), None));
}

/// Logs an event whose announcement is lost.
fn log_unannounced(fixture: &Fixture, id: u64, payload: &str) {
    fixture.log.lock().append(entry(id), payload);
}

fn resume(fixture: &Fixture, from: &str) -> Subscriber {
    fixture.join(Start::After(Resume::new(from)))
}

/// Returns the items of a subscriber, including those that follow from the reads that it causes.
fn read_all(fixture: &Fixture, subscriber: &mut Subscriber) -> Vec<String> {
    let mut got = read_short(subscriber);
    while fixture.complete_reads() > 0 {
        got.extend(read_short(subscriber));
    }
    got
}

/// A subscriber of a confirmed workspace that got its `connected` event.
fn joined(fixture: &Fixture) -> Subscriber {
    let mut subscriber = fixture.join(Start::Head);
    fixture.confirm();
    assert_eq!(read(&mut subscriber), ["joined"]);
    subscriber
}

fn position(subscriber: &Subscriber) -> String {
    subscriber.position().unwrap().to_string()
}

/// A hub whose rings have space for all events of these tests.
fn large_ring() -> Fixture {
    fixture_with(HubSettings { ring_events: 30, linger: Duration::ZERO, ..settings() })
}

/// Another node with the same log.
fn fixture_of(fixture: &Fixture) -> Fixture {
    let other = large_ring();
    std::mem::swap(&mut *other.log.lock(), &mut *fixture.log.lock());
    other
}
