//! A shard's turns: from the message on the channel to the sockets of all clients.

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use tidings_event::workspace::WorkspaceId;
use tidings_hub::SubscriptionFilter;
use tidings_testkit::shard_harness::{Publisher, ShardHarness};

use super::payload;

/// Workspaces with the same number of clients each.
struct Scene {
    shard_harness: ShardHarness,
    workspaces: Vec<(WorkspaceId, Publisher)>,
    clients: usize,
}

impl Scene {
    fn new(workspaces: usize, clients: usize) -> Self {
        let mut shard_harness = ShardHarness::new();
        let workspaces: Vec<_> = (0..workspaces)
            .map(|number| (WorkspaceId::parse(&format!("acme-{number}")).unwrap(), Publisher::default()))
            .collect();
        for (workspace, _) in &workspaces {
            (0..clients).for_each(|_| shard_harness.join(workspace, SubscriptionFilter::default()));
            shard_harness.confirm(workspace);
        }
        shard_harness.greet();
        Self { shard_harness, workspaces, clients }
    }

    /// The number of deliveries until each client has `events` of its workspace.
    fn deliveries(&self, events: usize) -> u64 {
        (self.workspaces.len() * self.clients * events) as u64
    }

    /// How long it takes, so many times, until `events` events of each workspace are in the sockets
    /// of all clients. That they are made, and taken out again, does not count.
    fn time(&mut self, events: usize, times: u64) -> Duration {
        let payload = payload(200);
        let deliveries = self.deliveries(events);
        let mut time = Duration::ZERO;
        for _ in 0..times {
            let messages: Vec<Vec<Bytes>> = self
                .workspaces
                .iter_mut()
                .map(|(_, publisher)| (0..events).map(|_| publisher.logged(&payload, &[])).collect())
                .collect();
            let began = Instant::now();
            for ((workspace, _), messages) in self.workspaces.iter().zip(messages) {
                self.shard_harness.publish(workspace, messages);
            }
            self.shard_harness.deliver(deliveries);
            time += began.elapsed();
            self.shard_harness.drain();
        }
        time
    }
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turn");
    for clients in [1, 100, 1000] {
        let mut scene = Scene::new(1, clients);
        for (events, name) in [(1, "an event to clients"), (64, "64 events to clients")] {
            group.throughput(Throughput::Elements(scene.deliveries(events)));
            group.bench_function(BenchmarkId::new(name, clients), |bencher| {
                bencher.iter_custom(|times| scene.time(events, times));
            });
        }
    }
    let mut scene = Scene::new(1000, 1);
    group.throughput(Throughput::Elements(scene.deliveries(1)));
    group.bench_function("an event to the client of each of 1000 workspaces", |bencher| {
        bencher.iter_custom(|times| scene.time(1, times));
    });
}
