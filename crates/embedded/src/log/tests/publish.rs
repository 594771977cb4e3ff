//! Publishing, step by step as the script does it.

use std::time::Duration;

use bytes::Bytes;

use super::{id, key};
use crate::log::idempotency_cache::KeysFull;
use crate::log::logs::NoId;
use crate::log::publish::PublishTransaction;
use crate::log::{Fields, ID_MAX, IdempotencyBounds, LogSettings, Logs, NotPublished, Publish, RequestedId};
use tidings_event::EntryId;

fn logs() -> Logs {
    let settings = LogSettings {
        events: 1000,
        age: Duration::from_secs(60),
        bytes: 1 << 20,
        memory: 1 << 20,
        idempotency_cache: IdempotencyBounds { log: 1 << 20, all: 4 << 20 },
    };
    let mut logs = Logs::new(settings, false);
    logs.begin(1000);
    logs
}

fn of(payloads: &[&'static str]) -> Publish {
    let items = payloads.iter().map(|payload| Bytes::from_static(payload.as_bytes()).into()).collect();
    Publish {
        items,
        events: Some(100),
        age: Some(60_000),
        bytes: Some(1 << 20),
        idempotency_key: None,
        trace: None,
    }
}

fn ids(logs: &Logs, log: &str) -> Vec<EntryId> {
    logs.get(log.as_bytes()).unwrap().entries().map(|entry| entry.id).collect()
}

#[test]
fn events_are_announced_as_one_chain() {
    let mut logs = logs();
    let first = logs.publish(&key("a"), &of(&["one"])).unwrap();
    assert_eq!(
        first,
        PublishTransaction { ids: vec![id(1000, 0)], messages: vec![key("tidings/1 1000-0 0-0\none")] }
    );
    let more = logs.publish(&key("a"), &of(&["two", "three"])).unwrap();
    assert_eq!(more.ids, [id(1000, 1), id(1000, 2)]);
    assert_eq!(more.messages, ["tidings/1 1000-1 1000-0\ntwo", "tidings/1 1000-2 1000-1\nthree"]);
    let sums: Vec<_> =
        logs.get(b"a").unwrap().entries().map(|entry| entry.fields.get(b"sum").unwrap()).collect();
    assert_eq!(sums, ["3", "6", "11"]);
    assert_eq!(logs.expires(b"a"), Some(61_000));
}

#[test]
fn each_log_has_its_own_chain() {
    let mut logs = logs();
    logs.publish(&key("a"), &of(&["x"])).unwrap();
    assert_eq!(logs.publish(&key("b"), &of(&["x"])).unwrap().messages, ["tidings/1 1000-0 0-0\nx"]);
}

#[test]
fn the_same_key_publishes_once_within_five_minutes() {
    let mut logs = logs();
    let idempotency_cache = |log: &'static str, name: &'static str| {
        (key(log), Publish { idempotency_key: Some(key(name)), ..of(&["x", "y"]) })
    };
    let (log, publish) = idempotency_cache("a", "1");
    let first = logs.publish(&log, &publish).unwrap();
    logs.begin(300_999);
    let again = logs.publish(&log, &publish).unwrap();
    assert_eq!(again, PublishTransaction { ids: first.ids, messages: vec![] });
    // The log ended meanwhile; that the publication was made is still known.
    assert!(logs.get(b"a").is_none());
    for (log, publish) in [idempotency_cache("a", "2"), idempotency_cache("b", "1")] {
        assert_eq!(logs.publish(&log, &publish).unwrap().messages.len(), 2);
    }
    logs.begin(301_000);
    assert_eq!(logs.publish(&log, &publish).unwrap().messages.len(), 2);
}

#[test]
fn flood_of_another_log_evicts_no_key() {
    let mut logs = logs();
    let idempotency_cache = |number: usize| Publish {
        idempotency_key: Some(Bytes::from(format!("{number:0>36}"))),
        ..of(&["x"])
    };
    let first = logs.publish(&key("quiet"), &idempotency_cache(0)).unwrap().ids;
    let (mut taken, mut refused) = (Vec::new(), None);
    for number in 0..70_000 {
        match logs.publish(&key("loud"), &idempotency_cache(number)) {
            Ok(publishing) => taken.push(publishing.ids),
            Err(error) => refused = refused.or(Some((number, error))),
        }
    }
    logs.begin(300_999);
    assert_eq!(logs.publish(&key("quiet"), &idempotency_cache(0)).unwrap().ids, first);
    for (number, ids) in taken.iter().enumerate() {
        assert_eq!(logs.publish(&key("loud"), &idempotency_cache(number)).unwrap().ids, *ids);
    }
    let Some((number, error)) = refused else { panic!("a log takes any number of keys") };
    assert_eq!((number, error), (taken.len(), NotPublished::KeysFull(KeysFull::Log)));
    assert_eq!(logs.publish(&key("quiet"), &idempotency_cache(1)).unwrap().messages.len(), 1);
    assert!(logs.publish(&key("loud"), &of(&["without a key"])).is_ok());
    logs.begin(301_000);
    assert!(logs.publish(&key("loud"), &idempotency_cache(number)).is_ok());
}

#[test]
fn a_log_is_bounded_by_count_age_and_bytes() {
    let mut logs = logs();
    for (now, bound) in [(1000, of(&["1"])), (1040, of(&["2"])), (1050, of(&["3", "4"])), (1060, of(&["5"]))]
    {
        logs.begin(now);
        logs.publish(&key("a"), &bound).unwrap();
    }
    assert_eq!(ids(&logs, "a").len(), 5);
    logs.publish(&key("a"), &Publish { events: Some(5), ..of(&["6"]) }).unwrap();
    assert_eq!(ids(&logs, "a")[0], id(1040, 0));
    logs.publish(&key("a"), &Publish { age: Some(10), ..of(&["7"]) }).unwrap();
    assert_eq!(ids(&logs, "a")[0], id(1050, 0));
    assert_eq!(logs.expires(b"a"), Some(1070));
    // The oldest stays for as long as there is no more than this behind it; however large, the
    // newest stays.
    for (bytes, payload, expected) in [(10, "12345", 6), (6, "6", 3), (1, "a large one", 1)] {
        logs.publish(&key("a"), &Publish { bytes: Some(bytes), ..of(&[payload]) }).unwrap();
        assert_eq!(ids(&logs, "a").len(), expected, "{bytes}");
    }
}

#[test]
fn all_events_or_none() {
    let mut logs = logs();
    let last_but_one = EntryId { sequence: u64::MAX - 1, ..ID_MAX };
    logs.append(&key("a"), RequestedId::Exactly(last_but_one), Fields::new(&["data", "x"])).unwrap();
    assert_eq!(logs.publish(&key("a"), &of(&["one", "two"])), Err(NotPublished::NoId(NoId)));
    assert_eq!(ids(&logs, "a"), [last_but_one]);
    assert_eq!(logs.publish(&key("a"), &of(&["one"])).unwrap().ids, [ID_MAX]);
}

#[test]
fn sum_of_another_program_is_harmless() {
    let mut logs = logs();
    let sum = u64::MAX.to_string();
    logs.append(&key("a"), RequestedId::Any, Fields::new(&["sum", &sum])).unwrap();
    logs.publish(&key("a"), &of(&["x"])).unwrap();
    assert_eq!(logs.get(b"a").unwrap().newest().unwrap().fields.get(b"sum").unwrap(), sum);
}
