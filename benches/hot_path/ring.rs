//! A workspace's ring: writes, reads, and the place of a client that resumes.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use tidings_event::log::LogPage;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{BusHandler as _, DesiredSubscriptions, NodeId};
use tidings_hub::rate::Rates;
use tidings_hub::{Hub, HubSettings, LiveEvents, Next, Resume, Start, Subscriber, SubscriptionFilter};
use tidings_metrics::Metrics;

use super::payload;

/// A workspace with a full ring, and the position of each event in it.
struct Full {
    hub: Hub,
    workspace: WorkspaceId,
    message: Bytes,
    positions: Vec<String>,
    /// Keeps the workspace open.
    _first: Subscriber,
}

impl Full {
    fn new(events: usize) -> Self {
        let settings = HubSettings {
            ring_events: events,
            ring_bytes: 1 << 30,
            replay_bytes: 1 << 26,
            ring_bytes_in_all: 1 << 30,
            rates: Rates::default(),
            event_bytes: 1 << 16,
            linger: Duration::from_secs(30),
            workspaces: 10,
            live: LiveEvents::Never,
            retention: Duration::MAX,
            traces_in_streams: false,
        };
        let desired = Arc::new(DesiredSubscriptions::default());
        let hub = Hub::new(NodeId::random(), settings, desired, Arc::new(Metrics::new()));
        let workspace = WorkspaceId::parse("acme").unwrap();
        let mut first = hub.join(&workspace, Start::Head, SubscriptionFilter::default()).unwrap();
        hub.confirmed(&workspace);
        while let Some(read) = hub.read_queue().take() {
            hub.answer(&read, Ok(LogPage { proven: true, ..LogPage::default() }));
        }
        let message = Bytes::from(payload(200));
        let mut positions = Vec::new();
        assert!(matches!(next(&mut first), Some(Next::Joined(_))));
        for _ in 0..events {
            hub.message(&workspace, message.clone());
            assert!(matches!(next(&mut first), Some(Next::Event(_))));
            positions.push(first.position().unwrap().to_string());
        }
        Self { hub, workspace, message, positions, _first: first }
    }

    fn join(&self, start: Start) -> Subscriber {
        self.hub.join(&self.workspace, start, SubscriptionFilter::default()).unwrap()
    }

    /// Joins at a position; returns the subscriber, and what it gets first.
    fn resume(&self, position: &str) -> (Subscriber, Option<Next>) {
        let mut subscriber = self.join(Start::After(Resume::new(position)));
        let first = next(&mut subscriber);
        (subscriber, first)
    }
}

fn next(subscriber: &mut Subscriber) -> Option<Next> {
    match subscriber.poll_next(&Context::from_waker(Waker::noop())) {
        Poll::Ready(next) => Some(next),
        Poll::Pending => None,
    }
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let full = Full::new(1000);
    let mut group = criterion.benchmark_group("hub");
    group.bench_function("an event arrives, and the oldest falls out", |bencher| {
        bencher.iter(|| full.hub.message(&full.workspace, black_box(full.message.clone())));
    });
    let full = Full::new(1000);
    group.throughput(Throughput::Elements(999));
    group.bench_function("a client reads 999 events", |bencher| {
        bencher.iter(|| {
            let (mut subscriber, joined) = full.resume(&full.positions[0]);
            assert!(matches!(joined, Some(Next::Joined(_))));
            let mut count = 0;
            while let Some(next) = next(&mut subscriber) {
                black_box(next);
                count += 1;
            }
            assert_eq!(count, 999);
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("resume");
    for events in [1000, 10_000] {
        let full = Full::new(events);
        for (name, index) in [("oldest", 0), ("middle", events / 2), ("newest", events - 1)] {
            let position = &full.positions[index];
            group.bench_with_input(BenchmarkId::new(name, events), position, |bencher, position| {
                bencher.iter(|| black_box(full.resume(black_box(position))));
            });
        }
    }
}
