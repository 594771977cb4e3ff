//! The encoder of events: payload to frame.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use tidings_event::Frame;

use super::{payload, position};

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encoder");
    // An object over many lines, as it comes from a pretty-printer.
    let lines = format!("{{\n  \"type\": \"A\",\n{}  \"last\": 0\n}}", "  \"key\": \"value\",\n".repeat(250));
    for (name, payload) in [("200 bytes", payload(200)), ("4 KiB", payload(4096)), ("250 lines", lines)] {
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_with_input(BenchmarkId::new("plain", name), &payload, |bencher, payload| {
            bencher.iter(|| Frame::application(position(1_795_373_098_811), black_box(payload)));
        });
        group.bench_with_input(BenchmarkId::new("named", name), &payload, |bencher, payload| {
            bencher.iter(|| {
                let frame = Frame::application(position(1_795_373_098_811), black_box(payload));
                frame.named().clone()
            });
        });
    }
}
