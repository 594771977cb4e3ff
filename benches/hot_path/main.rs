//! Measures the time of the steps of each event, from its payload to the sockets. `tests/budgets`
//! bounds their memory and writes.

#![expect(clippy::unwrap_used, reason = "a failed step ends the bench, with a backtrace")]

mod encoder;
mod ring;
mod schemas;
mod turn;

use tidings_event::{EntryId, Position};

/// The place of the logged event with a number.
fn position(number: u64) -> Position {
    Position::logged(EntryId { milliseconds: number, sequence: 0 })
}

/// A payload of a size as backends write it: an object with a type.
fn payload(bytes: usize) -> String {
    let head = r#"{"type":"CHANNEL_UPDATED","text":""#;
    format!("{head}{}\"}}", "x".repeat(bytes.saturating_sub(head.len() + 2)))
}

criterion::criterion_group!(benches, encoder::benches, ring::benches, schemas::benches, turn::benches);
criterion::criterion_main!(benches);
