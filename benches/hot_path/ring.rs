//! A workspace's ring: writes, reads, and the place of a client that resumes.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use tidings_event::Frame;
use tidings_hub::benching::BenchRing;

use super::{payload, position};

/// A ring that is full, with the events from 1 on.
fn full(events: u64) -> BenchRing {
    let mut ring = BenchRing::new(usize::try_from(events).unwrap());
    (1..=events).for_each(|number| ring.push(frame(number)));
    ring
}

fn frame(number: u64) -> Frame {
    Frame::application(position(number), &payload(200))
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.bench_function("push where one falls out", |bencher| {
        let mut ring = full(1000);
        bencher.iter_batched(|| frame(1), |frame| ring.push(frame), BatchSize::SmallInput);
    });
    let ring = full(1000);
    group.throughput(Throughput::Elements(1000));
    group.bench_function("read 1000 by a cursor", |bencher| {
        bencher.iter(|| ring.read(black_box(ring.oldest()), |frame| drop(black_box(frame.plain().clone()))));
    });
    group.finish();

    let mut group = criterion.benchmark_group("resume");
    for events in [1000, 10_000] {
        let ring = full(events);
        for (name, number) in
            [("oldest", 1), ("middle", events / 2), ("newest", events), ("gone", events + 1)]
        {
            let place = position(number);
            group.bench_with_input(BenchmarkId::new(name, events), &place, |bencher, place| {
                bencher.iter(|| ring.cursor_after(black_box(place)));
            });
        }
    }
}
