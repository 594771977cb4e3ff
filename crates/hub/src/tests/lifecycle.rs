//! The rules of the stream lifecycle, without a writer.

use super::*;
use tidings_event::ConnectionId;
use tidings_event::control::ReconnectReason;

/// The end of a held stream, and the time of its first heartbeat.
const HELD_UNTIL: Tick = 5_000;
const HEARTBEAT_AT: Tick = 15_000;

/// A stream of a workspace that a test polls at chosen times.
struct Stream {
    lifecycle: StreamLifecycle,
    ends: StreamEnds,
    revoked: Option<ReconnectReason>,
    subscriber: Subscriber,
}

impl Stream {
    fn open(fixture: &Fixture, start: Start) -> Self {
        Self {
            lifecycle: StreamLifecycle::new(HELD_UNTIL, HEARTBEAT_AT),
            ends: StreamEnds::new(NEVER, NEVER),
            revoked: None,
            subscriber: fixture.join(start),
        }
    }

    /// A stream that got its `connected` event.
    fn connected(fixture: &Fixture) -> Self {
        let mut stream = Self::open(fixture, Start::Head);
        fixture.confirm();
        assert_eq!(stream.write(0), "retry: 2000\n");
        assert!(stream.write(0).contains(r#""type":"connected""#));
        stream
    }

    fn poll(&mut self, now: Tick) -> StreamStep {
        let moment = StreamMoment {
            now,
            ends: &self.ends,
            revoked: self.revoked,
            heartbeat_ms: HEARTBEAT_AT,
            schemas: None,
        };
        let connection = ConnectionId { node: NodeId::random(), number: 1 };
        let context = Context::from_waker(Waker::noop());
        self.lifecycle.poll(moment, connection, || 2000, &mut self.subscriber, &context)
    }

    fn write(&mut self, now: Tick) -> String {
        match self.poll(now) {
            StreamStep::Write(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            step => panic!("{step:?}"),
        }
    }

    fn deliver(&mut self, now: Tick) -> String {
        match self.poll(now) {
            StreamStep::Deliver(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            step => panic!("{step:?}"),
        }
    }

    fn heartbeat(&mut self, now: Tick) -> String {
        match self.poll(now) {
            StreamStep::Heartbeat(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            step => panic!("{step:?}"),
        }
    }

    fn wait(&mut self, now: Tick) -> Tick {
        match self.poll(now) {
            StreamStep::Wait(at) => at,
            step => panic!("{step:?}"),
        }
    }

    fn end(&mut self, now: Tick) -> ReconnectReason {
        match self.poll(now) {
            StreamStep::End(reason) => reason,
            step => panic!("{step:?}"),
        }
    }
}

fn publish(fixture: &Fixture, text: &'static str) {
    fixture.hub.message(&acme(), Bytes::from_static(text.as_bytes()));
}

#[test]
fn retry_precedes_everything() {
    let fixture = fixture();
    let mut stream = Stream::open(&fixture, Start::Head);
    fixture.confirm();
    stream.ends = StreamEnds::new(0, 0);
    stream.revoked = Some(ReconnectReason::Disconnected);
    assert!(stream.lifecycle.is_opening());
    assert_eq!(stream.write(0), "retry: 2000\n");
    assert!(!stream.lifecycle.is_opening());
}

#[test]
fn held_stream_ends_when_its_time_is_over() {
    let fixture = fixture();
    let mut stream = Stream::open(&fixture, Start::Head);
    stream.write(0);
    stream.lifecycle.set_heartbeat(NEVER);
    assert_eq!(stream.wait(1), 1_000);
    stream.write(1_000);
    assert_eq!(stream.wait(1_000), HELD_UNTIL);
    assert_eq!(stream.lifecycle.due(HELD_UNTIL - 1, &stream.ends), None);
    assert_eq!(stream.lifecycle.due(HELD_UNTIL, &stream.ends), Some(ReconnectReason::Unavailable));
    assert_eq!(stream.end(HELD_UNTIL), ReconnectReason::Unavailable);
}

#[test]
fn held_stream_gets_one_heartbeat_after_a_second() {
    let fixture = fixture();
    let mut stream = Stream::open(&fixture, Start::Head);
    assert_eq!(stream.write(500), "retry: 2000\n");
    assert_eq!(stream.wait(1_499), 1_500);
    let heartbeat = stream.write(1_500);
    assert!(
        heartbeat.contains("event: tidings.heartbeat") && heartbeat.contains(r#""live":false"#),
        "{heartbeat}"
    );
    assert_eq!(stream.wait(1_500), HELD_UNTIL);

    let mut stream = Stream::connected(&fixture);
    assert_eq!(stream.wait(1_500), HEARTBEAT_AT, "a stream that is not held waits for its interval");
}

#[test]
fn heartbeat_of_a_held_stream_is_not_live() {
    let fixture = fixture();
    let mut stream = Stream::open(&fixture, Start::Head);
    stream.write(0);
    stream.lifecycle.set_heartbeat(1_000);
    assert_eq!(stream.wait(999), 1_000);
    assert!(stream.heartbeat(1_000).contains(r#"{"live":false}"#));
}

#[test]
fn refused_workspace_ends_the_stream() {
    let fixture = fixture();
    let mut stream = Stream::open(&fixture, Start::Head);
    stream.write(0);
    fixture.hub.refused(&acme(), "NOPERM");
    assert_eq!(stream.end(0), ReconnectReason::Unavailable);
}

#[test]
fn connected_comes_once_and_then_events_in_order() {
    let fixture = fixture();
    let mut stream = Stream::connected(&fixture);
    publish(&fixture, "one");
    publish(&fixture, "two");
    assert!(stream.deliver(1).contains("data: one"));
    assert!(stream.deliver(1).contains("data: two"));
    assert_eq!(stream.wait(1), HEARTBEAT_AT);
}

#[test]
fn confirmed_stream_is_held_no_more() {
    let fixture = fixture();
    let mut stream = Stream::connected(&fixture);
    assert_eq!(stream.wait(HELD_UNTIL), HEARTBEAT_AT);
}

#[test]
fn resumed_stream_replays_before_it_goes_on() {
    let fixture = fixture();
    let mut first = Stream::connected(&fixture);
    publish(&fixture, "one");
    let at = first.deliver(1);
    let (_, id) = at.split_once("id:").unwrap();
    let id = id.lines().next().unwrap().trim().to_owned();
    publish(&fixture, "two");
    let mut back = Stream::open(&fixture, Start::After(Resume::new(&id)));
    back.write(0);
    assert!(back.write(0).contains(r#""resumed":true"#));
    assert!(back.deliver(0).contains("data: two"));
    publish(&fixture, "three");
    assert!(back.deliver(0).contains("data: three"));
}

#[test]
fn heartbeat_comes_on_time_and_is_set_again() {
    let fixture = fixture();
    let mut stream = Stream::connected(&fixture);
    assert_eq!(stream.wait(HEARTBEAT_AT - 1), HEARTBEAT_AT);
    assert!(stream.heartbeat(HEARTBEAT_AT).contains(r#"{"live":true}"#));
    stream.lifecycle.set_heartbeat(2 * HEARTBEAT_AT);
    assert_eq!(stream.wait(HEARTBEAT_AT), 2 * HEARTBEAT_AT);
}

#[test]
fn end_precedes_events_that_wait() {
    for (ends, revoked, reason) in [
        (StreamEnds::new(NEVER, 10), None, ReconnectReason::Expired),
        (StreamEnds::new(10, NEVER), None, ReconnectReason::Aged),
        (StreamEnds::new(NEVER, NEVER), Some(ReconnectReason::Disconnected), ReconnectReason::Disconnected),
        (StreamEnds::new(NEVER, NEVER), Some(ReconnectReason::Unauthorized), ReconnectReason::Unauthorized),
    ] {
        let fixture = fixture();
        let mut stream = Stream::connected(&fixture);
        stream.ends = ends;
        publish(&fixture, "one");
        assert!(stream.deliver(9).contains("data: one"), "{reason:?}");
        assert_eq!(stream.wait(9), ends.next().min(HEARTBEAT_AT), "{reason:?}");
        publish(&fixture, "late");
        stream.revoked = revoked;
        assert_eq!(stream.end(10), reason);
    }
}

#[test]
fn drain_ends_a_stream_unless_it_ends_before() {
    let fixture = fixture();
    let mut stream = Stream::connected(&fixture);
    stream.ends = StreamEnds::new(100, NEVER);
    stream.ends.drain(200);
    assert_eq!(stream.ends.due(200), Some(ReconnectReason::Aged));
    stream.ends.drain(50);
    assert_eq!(stream.wait(49), 50);
    assert_eq!(stream.end(50), ReconnectReason::Draining);
}

#[test]
fn expiry_moves_with_the_wall_clock() {
    let mut ends = StreamEnds::new(NEVER, 1_000);
    assert_eq!((ends.next(), ends.due(999)), (1_000, None));
    ends.set_expires(500);
    assert_eq!((ends.expires(), ends.due(500)), (500, Some(ReconnectReason::Expired)));
}

#[test]
fn stream_behind_the_ring_lags() {
    let fixture = fixture();
    let mut stream = Stream::connected(&fixture);
    for _ in 0..=settings().ring_events {
        publish(&fixture, "flood");
    }
    assert_eq!(stream.end(1), ReconnectReason::Lagging);
}
