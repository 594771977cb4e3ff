//! The check of an event by its schema, from the payload.

use std::fs;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use tidings_schemas::SchemaSet;

use super::payload;

/// A schema with a nested object, a list of values, a pattern and bounds, as events have them.
const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "type": { "const": "CHANNEL_UPDATED" },
    "channel": {
      "type": "object",
      "properties": {
        "id": { "type": "string", "pattern": "^[a-z0-9-]{1,40}$" },
        "name": { "type": "string", "maxLength": 80 },
        "kind": { "enum": ["public", "private"] },
        "members": { "type": "integer", "minimum": 0 }
      },
      "required": ["id", "name", "kind"],
      "additionalProperties": false
    },
    "text": { "type": "string", "maxLength": 262144 },
    "by": { "type": ["string", "null"] }
  },
  "required": ["type"],
  "additionalProperties": false
}"#;

/// An event of about 200 bytes with all members of the schema.
const EVENT: &str = r#"{"type":"CHANNEL_UPDATED","channel":{"id":"c-4711-0815","name":"a channel with a long name","kind":"public","members":17},"text":"about fifty bytes of a text that a user has written","by":"u1"}"#;

pub(crate) fn benches(criterion: &mut Criterion) {
    let directory = tempfile::TempDir::new().unwrap();
    fs::write(directory.path().join("CHANNEL_UPDATED.json"), SCHEMA).unwrap();
    let schemas = SchemaSet::read(directory.path()).unwrap();
    let mut group = criterion.benchmark_group("schemas");
    for (name, payload) in
        [("200 bytes", EVENT.to_owned()), ("4 KiB", payload(4096)), ("256 KiB", payload(262_000))]
    {
        assert_eq!(schemas.check(payload.as_bytes()), Ok(()));
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_with_input(BenchmarkId::new("check", name), &payload, |bencher, payload| {
            bencher.iter(|| schemas.check(black_box(payload.as_bytes())));
        });
    }
    let wrong = EVENT.replace("public", "secret");
    group.bench_with_input(BenchmarkId::new("mismatch", "200 bytes"), &wrong, |bencher, payload| {
        bencher.iter(|| schemas.check(black_box(payload.as_bytes())));
    });
}
