//! All logs together: their ends, their memory, and whether the changes are complete.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{id, key};
use crate::log::logs::NoId;
use crate::log::{
    BesideKind, Excess, Fields, Header, IdempotencyBounds, LogChange, LogSettings, LogStream, Logs, Publish,
    RequestedId, StreamEntry,
};
use tidings_bus::Item;
use tidings_event::log::Span;
use tidings_event::{Audience, EntryId};

const SETTINGS: LogSettings = LogSettings {
    events: 5,
    age: Duration::from_millis(100),
    bytes: 1000,
    memory: 1 << 20,
    idempotency_cache: IdempotencyBounds { log: 1 << 20, all: 4 << 20 },
};

fn logs() -> Logs {
    Logs::new(SETTINGS, false)
}

fn append(logs: &mut Logs, key: &'static str) -> EntryId {
    logs.append(&super::key(key), RequestedId::Any, Fields::new(&["data", "x"])).unwrap()
}

#[test]
fn an_idle_log_ends_and_a_busy_one_does_not() {
    let mut logs = logs();
    logs.begin(1000);
    append(&mut logs, "idle");
    append(&mut logs, "busy");
    for now in [1050, 1099, 1100, 1180] {
        logs.begin(now);
        append(&mut logs, "busy");
        assert_eq!(logs.get(b"idle").is_some(), now < 1100, "at {now}");
    }
    assert_eq!(logs.get(b"busy").unwrap().len(), 5);
    logs.begin(1280);
    assert!(logs.get(b"busy").is_none());
}

#[test]
fn expire_holds_whatever_is_written() {
    let mut logs = logs();
    logs.begin(1000);
    append(&mut logs, "a");
    assert_eq!(logs.expires(b"a"), None);
    logs.expire(&key("a"), 1500);
    assert_eq!(logs.expires(b"a"), Some(1500));
    logs.begin(1499);
    append(&mut logs, "a");
    logs.begin(1500);
    assert!(logs.get(b"a").is_none());
    append(&mut logs, "a");
    logs.expire(&key("a"), 1500);
    assert!(logs.get(b"a").is_none(), "a time that is over ends it at once");
    logs.expire(&key("nothing"), 9999);
    assert!(logs.get(b"nothing").is_none());
}

#[test]
fn ids_of_a_removed_log_are_not_reused() {
    let mut logs = logs();
    logs.begin(1000);
    assert_eq!(append(&mut logs, "a"), id(1000, 0));
    assert!(logs.remove(&key("a")));
    assert!(!logs.remove(&key("a")));
    logs.begin(900);
    assert_eq!(append(&mut logs, "a"), id(1000, 1));
    // An id of the future is its log's alone.
    logs.append(&key("future"), RequestedId::Exactly(id(9_000_000, 0)), Fields::new(&["data", "x"])).unwrap();
    logs.remove(&key("future"));
    logs.begin(2000);
    assert_eq!(append(&mut logs, "future"), id(2000, 0));
}

#[test]
fn an_id_must_be_beyond_the_last() {
    let mut logs = logs();
    logs.begin(1000);
    append(&mut logs, "a");
    let fields = || Fields::new(&["data", "x"]);
    assert_eq!(logs.append(&key("a"), RequestedId::Exactly(id(1000, 0)), fields()), Err(NoId));
    assert_eq!(logs.append(&key("b"), RequestedId::Exactly(EntryId::ZERO), fields()), Err(NoId));
    assert!(logs.get(b"b").is_none(), "a refused entry makes no log");
}

#[test]
fn full_memory_evicts_the_log_nearest_to_its_end() {
    let mut logs = Logs::new(LogSettings { memory: 20_000, ..SETTINGS }, false);
    logs.begin(1000);
    let fields = || Fields::new(&["data", &"x".repeat(6000)]);
    for (key, ends) in [("late", 9000), ("soon", 1500), ("later", 9500)] {
        let key = super::key(key);
        logs.append(&key, RequestedId::Any, fields()).unwrap();
        logs.expire(&key, ends);
    }
    logs.evict();
    assert!(logs.get(b"soon").is_some());
    logs.append(&key("later"), RequestedId::Any, fields()).unwrap();
    logs.evict();
    assert!(logs.get(b"soon").is_none());
    assert!(logs.get(b"late").is_some() && logs.get(b"later").is_some());
    // The last one left loses its older half instead.
    for _ in 0..10 {
        logs.append(&key("later"), RequestedId::Any, fields()).unwrap();
    }
    logs.evict();
    assert!(logs.get(b"late").is_none());
    let later = logs.get(b"later").unwrap();
    assert!((1..4).contains(&later.len()), "{}", later.len());
    assert!(later.tally().lost.is_some());
}

/// The content of a disk: the changes, and nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
struct Disk {
    entries: BTreeMap<(Bytes, EntryId), Fields>,
    headers: BTreeMap<Bytes, Header>,
    beside: BTreeMap<(BesideKind, Bytes), (String, u64)>,
}

impl Disk {
    fn apply(&mut self, changes: Vec<LogChange>) {
        for change in changes {
            match change {
                LogChange::Appended { log, entry } => {
                    assert_eq!(self.entries.insert((log, entry.id), entry.fields), None);
                }
                LogChange::Trimmed { log, first } => {
                    self.entries
                        .retain(|(key, id), _| *key != log || first.is_some_and(|first| *id >= first));
                }
                LogChange::Removed { log } => {
                    self.entries.retain(|(key, _), _| *key != log);
                    self.headers.remove(&log);
                }
                LogChange::Header { log, header } => drop(self.headers.insert(log, header)),
                LogChange::Beside { kind, key, value: Some(value) } => {
                    drop(self.beside.insert((kind, key), value));
                }
                LogChange::Beside { kind, key, value: None } => {
                    assert!(self.beside.remove(&(kind, key)).is_some());
                }
            }
        }
    }

    fn restore(&self) -> Logs {
        let mut logs = Logs::new(SETTINGS, true);
        for (key, header) in &self.headers {
            let entries: VecDeque<StreamEntry> = self
                .entries
                .iter()
                .filter(|((log, _), _)| log == key)
                .map(|((_, id), fields)| StreamEntry { id: *id, fields: fields.clone() })
                .collect();
            logs.restore(key, *header, entries);
        }
        for ((kind, key), (value, until)) in &self.beside {
            logs.restore_beside(*kind as u8, key, value, *until).unwrap();
        }
        logs
    }
}

#[derive(Debug, Clone)]
enum CommandStep {
    Wait(u64),
    Append(Bytes),
    Publish(Bytes, Option<Bytes>),
    Trim(Bytes, usize),
    Expire(Bytes, u64),
    Remove(Bytes),
    Mark(Bytes),
    Page(Bytes),
    Store,
}

fn steps() -> impl Strategy<Value = Vec<CommandStep>> {
    let key = || prop_oneof![Just(super::key("a")), Just(super::key("b"))];
    let idempotency_cache = prop_oneof![Just(super::key("1")), Just(super::key("2"))];
    prop::collection::vec(
        prop_oneof![
            2 => (0u64..80).prop_map(CommandStep::Wait),
            4 => key().prop_map(CommandStep::Append),
            4 => (key(), prop::option::of(idempotency_cache)).prop_map(|(key, idempotency_cache)| CommandStep::Publish(key, idempotency_cache)),
            1 => (key(), 0usize..3).prop_map(|(key, most)| CommandStep::Trim(key, most)),
            1 => (key(), 0u64..3000).prop_map(|(key, at)| CommandStep::Expire(key, at)),
            1 => key().prop_map(CommandStep::Remove),
            1 => key().prop_map(CommandStep::Mark),
            1 => key().prop_map(CommandStep::Page),
            2 => Just(CommandStep::Store),
        ],
        0..40,
    )
}

proptest! {
    /// The stored changes reproduce all logs.
    #[test]
    fn changes_reproduce_all_logs(steps in steps()) {
        let (mut logs, mut disk, mut now) = (Logs::new(SETTINGS, true), Disk::default(), 1000);
        logs.begin(now);
        for step in steps.into_iter().chain([CommandStep::Store]) {
            match step {
                CommandStep::Wait(milliseconds) => {
                    now += milliseconds;
                    logs.begin(now);
                }
                CommandStep::Append(key) => drop(logs.append(&key, RequestedId::Any, Fields::new(&["data", "x"]))),
                CommandStep::Publish(key, idempotency_key) => {
                    let private = Audience::new(&["u1"]).unwrap();
                    let two = Item { payload: Bytes::from_static(b"two"), to: Some(Arc::new(private)) };
                    let items = vec![Bytes::from_static(b"one").into(), two];
                    let publish = Publish { items, events: Some(3), age: Some(50), bytes: Some(6), idempotency_key, trace: None };
                    logs.publish(&key, &publish).unwrap();
                }
                CommandStep::Trim(key, most) => drop(logs.trim(&key, Excess::Entries(most))),
                CommandStep::Expire(key, at) => logs.expire(&key, at),
                CommandStep::Remove(key) => drop(logs.remove(&key)),
                CommandStep::Mark(key) => assert!(logs.mark_live(&key, 100) >= now + 100),
                CommandStep::Page(key) => {
                    let page = logs.page(&key, Span::Head, 1);
                    // The position of an empty log is one of an epoch that has not begun.
                    assert!(page.head != EntryId::ZERO || page.record.is_some_and(|record| !record.has_begun()));
                }
                CommandStep::Store => {
                    disk.apply(logs.take_changes());
                    let mut restored = disk.restore();
                    restored.begin(now);
                    for key in [&b"a"[..], b"b"] {
                        prop_assert_eq!(restored.get(key), logs.get(key));
                        prop_assert_eq!(restored.expires(key), logs.expires(key));
                        prop_assert_eq!(restored.epoch(key), logs.epoch(key));
                        prop_assert_eq!(restored.live(key), logs.live(key));
                    }
                    // A restart from the stored state makes no difference.
                    if fastrand::bool() {
                        restored.take_changes();
                        logs = restored;
                    }
                }
            }
        }
        logs.begin(u64::MAX);
        disk.apply(logs.take_changes());
        prop_assert_eq!(disk, Disk::default());
    }
}

#[test]
fn a_log_that_does_not_exist_reads_as_one_without_entries() {
    assert_eq!(LogStream::default().len(), 0);
    assert!(logs().get(b"a").is_none());
}
