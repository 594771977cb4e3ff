use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;

use super::*;
use crate::{Drain, WallClock};
use tidings_event::Identity;
use tidings_event::NodeId;
use tidings_event::log::LogPage;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{BusHandler as _, DesiredSubscriptions};
use tidings_hub::rate::Rates;
use tidings_hub::{Hub, HubSettings, LiveEvents, Start, SubscriptionFilter};
use tidings_limits::{Candidate, StreamLimits, StreamRegistry};
use tidings_metrics::Metrics;

/// The stream of a client of a confirmed workspace, which expires at a time of a clock.
fn stream(hub: &Hub, clock: &WallClock, expires: SystemTime) -> StreamBody {
    counted_stream(hub, clock, expires, Arc::default())
}

/// The same, with counters.
fn counted_stream(hub: &Hub, clock: &WallClock, expires: SystemTime, metrics: Arc<Metrics>) -> StreamBody {
    let workspace = WorkspaceId::parse("acme").unwrap();
    let open = Arc::new(StreamRegistry::new(NodeId::random(), StreamLimits::default()));
    let candidate = Candidate { workspace: workspace.clone(), identity: Identity::default() };
    let stream_guard = open.register(candidate).unwrap();
    let subscriber = hub.join(&workspace, Start::Head, SubscriptionFilter::default()).unwrap();
    hub.confirmed(&workspace);
    while let Some(read) = hub.read_queue().take() {
        hub.answer(&read, Ok(LogPage { proven: true, ..LogPage::default() }));
    }
    let settings = Arc::new(StreamSettings {
        heartbeat: Duration::from_millis(200),
        retry: Duration::from_secs(2),
        confirm: Duration::from_secs(60),
        age: None,
        drain: Drain::default(),
        schemas: None,
        clock: clock.clone(),
        metrics,
        bodies: Arc::default(),
    });
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let recipient = Recipient { address, client: address.ip(), user: None, abort: CloseReason::default() };
    let until = Until { expires: Some(expires), aged: None };
    StreamBody::new(subscriber, Terms { stream_guard, place: None, until }, settings, recipient)
}

fn hub() -> Hub {
    let settings = HubSettings {
        ring_events: 10,
        ring_bytes: 1 << 20,
        replay_bytes: 1 << 26,
        ring_bytes_in_all: 1 << 20,
        rates: Rates::default(),
        event_bytes: 1 << 10,
        linger: Duration::from_secs(30),
        workspaces: 10,
        live: LiveEvents::Auto,
        retention: Duration::MAX,
        traces_in_streams: false,
    };
    Hub::new(NodeId::random(), settings, Arc::new(DesiredSubscriptions::default()), Arc::new(Metrics::new()))
}

/// Reads until a part of the stream contains a text.
async fn read_until(body: &mut StreamBody, wanted: &str) {
    let reading = async {
        loop {
            let Ok(part) = body.next().await.expect("the stream goes on");
            if String::from_utf8_lossy(&part).contains(wanted) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap_or_else(|_| panic!("{wanted}"));
}

#[tokio::test]
async fn expiry_follows_a_clock_that_is_set() {
    let ahead = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&ahead);
    let clock = WallClock::new(move || SystemTime::now() + Duration::from_secs(read.load(Ordering::Relaxed)));
    let hub = hub();
    let mut body = stream(&hub, &clock, clock.now() + Duration::from_secs(1800));
    read_until(&mut body, "connected").await;
    ahead.store(1700, Ordering::Relaxed);
    read_until(&mut body, "tidings.heartbeat").await;
    ahead.store(1900, Ordering::Relaxed);
    read_until(&mut body, r#""reason":"expired""#).await;
    assert!(body.next().await.is_none());

    // No event comes after it, not even one that waits already.
    ahead.store(0, Ordering::Relaxed);
    let mut body = stream(&hub, &clock, clock.now() + Duration::from_secs(1800));
    read_until(&mut body, "connected").await;
    hub.message(&WorkspaceId::parse("acme").unwrap(), Bytes::from_static(b"late"));
    ahead.store(1900, Ordering::Relaxed);
    let Ok(part) = body.next().await.unwrap();
    assert!(String::from_utf8_lossy(&part).contains(r#""reason":"expired""#), "{part:?}");
}

/// The delivery time is that of the event for which a stream waited. Events behind it, and events
/// from before the stream, do not count.
#[tokio::test]
async fn delivery_time_counts_the_event_that_a_stream_waited_for() {
    let (hub, clock, metrics) = (hub(), WallClock::default(), Arc::new(Metrics::new()));
    let mut body =
        counted_stream(&hub, &clock, clock.now() + Duration::from_secs(1800), Arc::clone(&metrics));
    read_until(&mut body, "connected").await;
    let begin = u64::try_from(clock.now_ms()).unwrap() + 1;
    let mut previous = "0-0".to_owned();
    let mut publish = |milliseconds: u64, payload: &str| {
        let id = format!("{milliseconds}-1");
        let envelope = format!("tidings/1 {id} {previous}\n{payload}");
        hub.message(&WorkspaceId::parse("acme").unwrap(), envelope.into());
        previous = id;
    };
    let counted = || {
        let text = metrics.encode(tidings_metrics::TextFormat::Prometheus).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("tidings_delivery_seconds_count "));
        line.unwrap().parse::<u64>().unwrap()
    };
    assert!(futures_util::poll!(body.next()).is_pending(), "no event comes");
    publish(1, "from before the stream");
    read_until(&mut body, "before").await;
    assert_eq!(counted(), 0);

    assert!(futures_util::poll!(body.next()).is_pending(), "no event comes");
    publish(begin, "first");
    publish(begin + 1, "second");
    read_until(&mut body, "second").await;
    assert_eq!(counted(), 1, "events that come together count once");

    publish(begin + 2, "third");
    read_until(&mut body, "third").await;
    assert_eq!(counted(), 1, "the server did not ask for it while it waited");
}
