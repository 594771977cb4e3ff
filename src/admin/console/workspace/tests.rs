//! Tests of the list of events, without a bus.

use super::*;
use tidings_event::{LivePart, NodeId, Position};

const ALL: Shown = Shown { payloads: true, private: true };
const PUBLIC: Shown = Shown { payloads: true, private: false };

fn entry(milliseconds: u64, to: Option<&'static [u8]>) -> LogEntry {
    let id = EntryId { milliseconds, sequence: 0 };
    let payload = Some(format!(r#"{{"type":"T{milliseconds}"}}"#).into());
    LogEntry { id, payload, to: to.map(bytes::Bytes::from_static), trace: None }
}

fn durable(milliseconds: u64) -> Arc<Frame> {
    let position = Position::logged(EntryId { milliseconds, sequence: 0 });
    Arc::new(Frame::application(position, "a\nb"))
}

fn live(milliseconds: u64, number: u64) -> Arc<Frame> {
    let live = Some(LivePart { node: NodeId::random(), number });
    let entry = EntryId { milliseconds, sequence: 0 };
    Arc::new(Frame::application(Position { entry, epoch: None, live }, "live"))
}

fn kinds(rows: &[EventRow]) -> Vec<(&'static str, Option<u64>)> {
    rows.iter().map(|row| (row.kind, row.at_ms)).collect()
}

#[test]
fn log_and_memory_are_one_list_without_repetition() {
    let entries = [entry(1, None), entry(2, None), entry(3, None)];
    let rows = join(&entries, &[durable(3), live(3, 1)], ALL);
    assert_eq!(
        kinds(&rows),
        [("live", None), ("durable", Some(3)), ("durable", Some(2)), ("durable", Some(1))]
    );
    assert_eq!(rows[1].payload.as_deref(), Some("a\nb"), "the one in memory");
    let rows = join(&entries, &[live(3, 1)], ALL);
    assert_eq!(kinds(&rows)[..2], [("live", None), ("durable", Some(3))]);
    assert_eq!(kinds(&join(&entries, &[], ALL))[0], ("durable", Some(3)));
    let many: Vec<_> = (1..=80).map(|at| entry(at, None)).collect();
    let rows = join(&many, &[], ALL);
    assert_eq!((rows.len(), rows[0].at_ms, rows[49].at_ms), (50, Some(80), Some(31)));
}

#[test]
fn private_payloads_are_shown_on_request_only() {
    let entries = [entry(1, None), entry(2, Some(br#"["u1"]"#)), entry(3, Some(b"not an audience"))];
    let rows = join(&entries, &[], PUBLIC);
    let shown: Vec<_> =
        rows.iter().map(|row| (row.private, row.payload.is_some(), row.users.is_some())).collect();
    assert_eq!(shown, [(true, false, false), (true, false, false), (false, true, false)]);
    assert!(rows.iter().all(|row| row.bytes > 0));
    let rows = join(&entries, &[], ALL);
    assert_eq!(rows[1].users, Some(serde_json::json!(["u1"])));
    assert_eq!((rows[0].payload.is_some(), rows[0].event_type.is_some()), (false, false), "of no audience");
    let rows = join(&entries, &[], Shown { payloads: false, private: true });
    assert!(rows.iter().all(|row| row.payload.is_none() && row.event_type.is_none() && row.users.is_none()));
}

#[test]
fn long_payload_is_cut_between_characters() {
    let text = "ü".repeat(PAYLOAD_BYTES_MAX);
    let row = EventRow::new("1-0".to_owned(), Some(&text), None, ALL);
    assert!(row.truncated && row.payload.is_some_and(|payload| payload.len() == PAYLOAD_BYTES_MAX));
    assert_eq!(row.bytes, 2 * PAYLOAD_BYTES_MAX);
}
