//! Checks of a node: what counts, what is refused, and that no event counts twice.

use std::fs;
use std::time::Instant;

use tempfile::TempDir;

use super::*;

fn set(schema: &str) -> SchemaSet {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("A.json"), schema).unwrap();
    SchemaSet::read(directory.path()).unwrap()
}

const TEXT: &str =
    r#"{"properties":{"type":{"const":"A"},"name":{"type":"string"}},"required":["type","name"]}"#;
const RECURSIVE: &str = r##"{"properties":{"type":{"const":"A"},"name":{"type":"string"},"inner":{"$ref":"#"}},"required":["type","name"]}"##;
const GOOD: &[u8] = br#"{"type":"A","name":"x"}"#;
const BAD: &[u8] = br#"{"type":"A","name":1}"#;
const OTHER: &[u8] = br#"{"type":"B"}"#;

struct Fixture {
    check: SchemaCheck,
    metrics: Arc<Metrics>,
    workspace: WorkspaceId,
}

impl Fixture {
    fn new(schema: &str, mode: SchemaMode) -> Self {
        let metrics = Arc::new(Metrics::new());
        let patience = Duration::from_secs(40);
        let check = SchemaCheck::start(set(schema), mode, patience, Arc::clone(&metrics)).unwrap();
        Self { check, metrics, workspace: WorkspaceId::parse("acme").unwrap() }
    }

    async fn publish(&self, payloads: &[&'static [u8]]) -> Result<(), CheckRefusal> {
        let payloads = payloads.iter().map(|payload| Bytes::from_static(payload)).collect();
        self.check.publication(&self.workspace, payloads).await
    }

    fn announce(&self, milliseconds: u64, payload: &[u8]) {
        let id = EntryId { milliseconds, sequence: 0 };
        self.check.message(&self.workspace, &envelope::encode(id, EntryId::ZERO, payload, None));
    }

    fn read(&self, milliseconds: &[u64], payload: &'static [u8]) {
        let entry = |&milliseconds: &u64| LogEntry {
            id: EntryId { milliseconds, sequence: 0 },
            payload: Some(Bytes::from_static(payload)),
            to: None,
            trace: None,
        };
        self.check.entries(&self.workspace, &milliseconds.iter().map(entry).collect::<Vec<_>>());
    }

    /// The counts of valid events, mismatches, types without a schema, refusals, unchecked events.
    fn counts(&self) -> [u64; 5] {
        [
            SchemaResult::Valid,
            SchemaResult::Mismatch,
            SchemaResult::NoSchema,
            SchemaResult::Refused,
            SchemaResult::Unchecked,
        ]
        .map(|result| self.metrics.schema_checks(result))
    }

    /// Waits until all events that were read are checked.
    fn settle(&self) {
        let (done, is_done) = std::sync::mpsc::channel();
        while self.check.shared.waiting_bytes.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
        self.check.later(0, 0, move || done.send(()).unwrap());
        is_done.recv_timeout(Duration::from_secs(40)).unwrap();
    }
}

#[tokio::test]
async fn enforce_refuses_the_whole_publication() {
    for schema in [TEXT, RECURSIVE] {
        let fixture = Fixture::new(schema, SchemaMode::Enforce);
        assert_eq!(fixture.publish(&[GOOD, GOOD]).await, Ok(()));
        let refusal = fixture.publish(&[GOOD, BAD, OTHER]).await.unwrap_err();
        assert!(
            matches!(refusal, CheckRefusal::Mismatch { index: 1, mismatch: Mismatch::Violation(_) }),
            "{refusal:?}"
        );
        let refusal = fixture.publish(&[OTHER]).await.unwrap_err();
        assert!(matches!(refusal, CheckRefusal::Mismatch { index: 0, mismatch: Mismatch::NoSchema { .. } }));
        assert_eq!(fixture.counts(), [2, 0, 0, 4, 0]);
    }
}

#[tokio::test]
async fn report_counts_each_event() {
    let fixture = Fixture::new(TEXT, SchemaMode::Report);
    assert_eq!(fixture.publish(&[GOOD, BAD, OTHER, b"text"]).await, Ok(()));
    assert_eq!(fixture.counts(), [1, 2, 1, 0, 0]);
}

#[tokio::test]
async fn event_counts_once_on_its_way_through_a_node() {
    let fixture = Fixture::new(TEXT, SchemaMode::Report);
    fixture.publish(&[BAD]).await.unwrap();
    // Its announcement, the same by a read, and another event with the same payload.
    fixture.announce(1, BAD);
    fixture.read(&[1], BAD);
    fixture.announce(2, BAD);
    fixture.announce(2, BAD);
    fixture.read(&[1, 2, 3], BAD);
    fixture.settle();
    assert_eq!(fixture.counts(), [0, 3, 0, 0, 0], "HTTP, 2 and 3");
    // Live events have no id, so each counts.
    fixture.check.message(&fixture.workspace, &Bytes::from_static(GOOD));
    fixture.check.message(&fixture.workspace, &Bytes::from_static(GOOD));
    fixture.check.message(&fixture.workspace, &Bytes::new());
    fixture.settle();
    assert_eq!(fixture.counts(), [2, 3, 0, 0, 0]);
}

#[test]
fn events_beyond_the_queue_are_not_checked() {
    let fixture = Fixture::new(TEXT, SchemaMode::Report);
    let (release, released) = std::sync::mpsc::channel::<()>();
    fixture.check.later(0, 0, move || released.recv().unwrap());
    let large = vec![b'x'; 1 << 20];
    let messages = 2 * WAITING_READ_BYTES / large.len();
    (0..messages).for_each(|_| fixture.check.message(&fixture.workspace, &Bytes::from(large.clone())));
    release.send(()).unwrap();
    fixture.settle();
    let [_, mismatches, _, _, unchecked] = fixture.counts();
    assert_eq!(mismatches + unchecked, messages as u64);
    let within = WAITING_READ_BYTES / large.len();
    assert!((within..=within + 1).contains(&(mismatches as usize)), "{mismatches} of {messages}");
    assert_eq!(fixture.check.shared.waiting_bytes.load(Ordering::Relaxed), 0);
}

/// A large text and patterns at which engines that backtrack take years.
#[tokio::test]
async fn patterns_take_linear_time() {
    let schema = r#"{"properties":{"type":{"const":"A"},"name":{"allOf":[{"pattern":"^(a+)+$"},{"pattern":"(x+x+)+y"},{"pattern":"^(a|aa)*b?c"}]}}}"#;
    let fixture = Fixture::new(schema, SchemaMode::Enforce);
    let event = format!(r#"{{"type":"A","name":"{}!"}}"#, "a".repeat(256 * 1024));
    let began = Instant::now();
    let checked = fixture.check.publication(&fixture.workspace, vec![Bytes::from(event)]).await;
    assert!(matches!(checked, Err(CheckRefusal::Mismatch { .. })), "{checked:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// A schema whose check takes exponential time holds up its own publications alone.
#[tokio::test]
async fn check_that_takes_too_long_is_given_up() {
    let schema = r##"{"properties":{"type":{"const":"A"},"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"type":"object","anyOf":[{"properties":{"a":{"$ref":"#/$defs/x"}}},{"properties":{"a":{"$ref":"#/$defs/x"},"b":true}}]}}}"##;
    let metrics = Arc::new(Metrics::new());
    let patience = Duration::from_millis(300);
    let check = SchemaCheck::start(set(schema), SchemaMode::Enforce, patience, Arc::clone(&metrics)).unwrap();
    let event = format!(r#"{{"type":"A","a":{}1{}}}"#, r#"{"a":"#.repeat(100), "}".repeat(100));
    let workspace = WorkspaceId::parse("acme").unwrap();
    let checked = check.publication(&workspace, vec![Bytes::from(event)]).await;
    assert_eq!(checked, Err(CheckRefusal::Unchecked));
    assert_eq!(metrics.schema_checks(SchemaResult::Unchecked), 1);
}
