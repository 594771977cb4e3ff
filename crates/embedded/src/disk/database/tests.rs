use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::log::{Excess, IdempotencyBounds, LogSettings, Publish, RequestedId};
use tidings_bus::Item;
use tidings_event::Audience;

const SETTINGS: LogSettings = LogSettings {
    events: 100,
    age: Duration::from_secs(3600),
    bytes: 1 << 20,
    memory: 16 << 20,
    idempotency_cache: IdempotencyBounds { log: 1 << 20, all: 4 << 20 },
};

const LOGS: [&str; 3] = ["workspace:a", "workspace:b", "workspace:gone"];

fn new_logs() -> Logs {
    let mut logs = Logs::new(SETTINGS, true);
    logs.begin(1000);
    logs
}

fn open(path: &Path) -> (Database, Logs) {
    let (database, mut logs) = (Database::open(path).unwrap(), Logs::new(SETTINGS, true));
    database.load(path, &mut logs).unwrap();
    logs.begin(1000);
    (database, logs)
}

fn key(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// An event for one user.
fn private(payload: &'static str) -> Item {
    Item { payload: key(payload), to: Some(Arc::new(Audience::new(&["u1"]).unwrap())) }
}

/// Some of everything that can happen to logs.
fn work(logs: &mut Logs) {
    let publish = |idempotency_key| Publish {
        items: vec![key("one").into(), private("two"), key("three").into()],
        events: Some(100),
        age: Some(60_000),
        bytes: Some(1 << 20),
        idempotency_key,
        trace: None,
    };
    logs.publish(&key("workspace:a"), &publish(Some(key("once")))).unwrap();
    logs.publish(&key("workspace:gone"), &publish(None)).unwrap();
    logs.remove(&key("workspace:gone"));
    for _ in 0..10 {
        logs.append(&key("workspace:b"), RequestedId::Any, Fields::new(&["x", "\0", "data", ""])).unwrap();
    }
    logs.trim(&key("workspace:b"), Excess::Entries(4));
    // A log whose key begins as another's does.
    logs.append(&key("workspace:"), RequestedId::Any, Fields::new(&["data", "x"])).unwrap();
    logs.trim(&key("workspace:"), Excess::Entries(0));
}

/// A file that is opened again holds all stored logs.
#[test]
fn stored_logs_are_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (database, mut logs) = open(&path);
    for round in 0..3 {
        work(&mut logs);
        database.store(&logs.take_changes(), round == 2).unwrap();
    }
    database.close().unwrap();
    let (_database, restored) = open(&path);
    for log in LOGS.iter().chain(&["workspace:"]) {
        assert_eq!(restored.get(log.as_bytes()), logs.get(log.as_bytes()), "{log}");
        assert_eq!(restored.expires(log.as_bytes()), logs.expires(log.as_bytes()), "{log}");
    }
    assert_eq!(restored.get(b"workspace:").unwrap().len(), 0);
    assert!(restored.get(b"workspace:gone").is_none());
}

#[test]
fn unsynced_commit_is_lost_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("log"), directory.path().join("copy"));
    let (database, mut logs) = open(&path);
    work(&mut logs);
    database.store(&logs.take_changes(), true).unwrap();
    let stored = logs.get(b"workspace:a").unwrap().len();
    work(&mut logs);
    database.store(&logs.take_changes(), false).unwrap();
    // The state after a crash: the file as it is while it is open.
    std::fs::copy(&path, &copy).unwrap();
    let (after_crash, mut restored) = open(&copy);
    assert_eq!(restored.get(b"workspace:a").unwrap().len(), stored);
    // And it goes on from there.
    work(&mut restored);
    after_crash.store(&restored.take_changes(), true).unwrap();
    database.store(&[], true).unwrap();
    std::fs::copy(&path, directory.path().join("later")).unwrap();
    let (_later, restored) = open(&directory.path().join("later"));
    assert_eq!(restored.get(b"workspace:a"), logs.get(b"workspace:a"));
}

#[test]
fn a_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    open(&path);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn file_of_another_program_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let refusal = |path: &Path| Database::open(path).unwrap_err().to_string();

    std::fs::write(path("text"), "no database").unwrap();
    assert!(refusal(&path("text")).contains("/text is damaged or no log ("), "{}", refusal(&path("text")));
    assert!(refusal(directory.path()).ends_with("cannot be opened: Is a directory (os error 21)"));
    let missing = refusal(&path("missing/log"));
    assert!(
        missing.ends_with("missing/log cannot be opened: No such file or directory (os error 2)"),
        "{missing}"
    );

    let other = Redb::create(path("other")).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction.open_table(TableDefinition::<'_, u64, u64>::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(other);
    assert!(refusal(&path("other")).contains("it belongs to another program"));

    let (newer, _) = open(&path("newer"));
    let transaction = newer.0.begin_write().unwrap();
    transaction.open_table(FORMS).unwrap().insert("form", FORM + 1).unwrap();
    transaction.commit().unwrap();
    newer.close().unwrap();
    assert!(refusal(&path("newer")).ends_with("was written by another version of Tidings"));
}

/// Damage is reported, or has no effect; it never becomes an event.
#[test]
fn damaged_file_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (database, mut logs) = open(&path);
    for _ in 0..30 {
        work(&mut logs);
        database.store(&logs.take_changes(), true).unwrap();
    }
    database.close().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    let mut refused = 0;
    for _ in 0..60 {
        let mut bytes = whole.clone();
        let at = random.usize(..bytes.len() - 64);
        random.fill(&mut bytes[at..at + 64]);
        let damaged = directory.path().join("damaged");
        std::fs::write(&damaged, &bytes).unwrap();
        // In a build for tests, redb panics if it reads pages that it never wrote.
        let outcome = std::panic::catch_unwind(|| {
            let database = Database::open(&damaged)?;
            let mut restored = new_logs();
            database.load(&damaged, &mut restored).map(|()| restored)
        });
        match outcome {
            Ok(Ok(restored)) => {
                for log in LOGS {
                    assert_eq!(restored.get(log.as_bytes()), logs.get(log.as_bytes()), "damage at {at}");
                }
            }
            Ok(Err(_)) | Err(_) => refused += 1,
        }
    }
    assert!(refused > 0, "no damage was found");
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let cut_off = std::panic::catch_unwind(|| Database::open(&path).map(drop));
    assert!(!matches!(cut_off, Ok(Ok(()))));
}
