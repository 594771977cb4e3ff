//! Payloads on their way through the broker.

use crate::support::test_cluster::{on_both_buses, publish_live};
use crate::support::{Bus, Connect, DEADLINE, Event, TestCluster};

on_both_buses!(
    live_payloads_arrive_as_they_are,
    durable_payloads_arrive_as_they_are,
    a_payload_at_the_limit_arrives,
    live_and_durable_events_keep_their_order,
);

/// Payloads that a careless encoder would change, split, or take for something else.
const PAYLOADS: &[&str] = &[
    r#"{"type":"CHANNEL_UPDATED","channel":{"id":"c1","name":"general"}}"#,
    "plain text",
    "two\nlines",
    "two\rlines",
    "two\r\nlines",
    "three\r\n\rlines",
    "\n",
    "\r",
    "\r\n",
    "\r\n\r\n",
    "ends with a line feed\n",
    "\nbegins with one",
    " begins with a space",
    "  begins with two",
    "\u{feff}begins with a byte order mark",
    ":is no comment",
    "data: x",
    "id: 7\nevent: tidings.reset\nretry: 1\n\ndata: x",
    "event: x",
    "a\0b\u{1}\u{7f}\u{80}\u{2028}",
    "\0",
    "\t",
    " ",
    "😀 and e\u{301}",
    "tidings/2 is no envelope",
    "tidings/1",
    r#"{"type":"connected"}"#,
    "null",
    "[1,2]",
];

/// What a parser makes of a payload: it puts LF between lines, however they were parted.
fn as_parsed(payload: &str) -> String {
    payload.replace("\r\n", "\n").replace('\r', "\n")
}

async fn live_payloads_arrive_as_they_are(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let mut connection = cluster.connection().await;
    for payload in PAYLOADS {
        publish_live(&mut connection, "acme", payload).await;
        check(&client.next_event(DEADLINE).await, payload);
    }
    check_lines(&client.body());
}

async fn durable_payloads_arrive_as_they_are(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    for payload in PAYLOADS {
        let id = cluster.broker.publish("acme", payload).await;
        let event = client.next_event(DEADLINE).await;
        check(&event, payload);
        assert_eq!(event.id, id);
    }
    // Also something that a live payload cannot be: an event of the application, and nothing of the
    // broker's.
    let id = cluster.broker.publish("acme", "tidings/1 5-0 4-0\nx").await;
    let event = client.next_event(DEADLINE).await;
    assert_eq!((event.id, event.data.as_str()), (id, "tidings/1 5-0 4-0\nx"));
    check_lines(&client.body());
}

fn check(event: &Event, payload: &str) {
    assert_eq!(event.data, as_parsed(payload), "{payload:?}");
    assert_eq!(event.kind, "message", "{payload:?}");
    assert!(!event.id.is_empty(), "{payload:?}");
}

/// Every line is one of the fields that the broker writes, and every line ends with LF alone.
fn check_lines(body: &[u8]) {
    let body = std::str::from_utf8(body).unwrap();
    assert!(!body.contains('\r'));
    for line in body.split('\n') {
        let known = ["retry: ", "id: ", "data: "].iter().any(|field| line.starts_with(field));
        assert!(known || line.is_empty(), "{line:?}");
    }
}

async fn a_payload_at_the_limit_arrives(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect_with("acme", Connect::query("types=BIG")).await;
    client.connected().await;
    let payload = |bytes: usize| {
        let (begin, end) = (r#"{"type":"BIG","text":""#, r#""}"#);
        format!("{begin}{}{end}", "x".repeat(bytes - begin.len() - end.len()))
    };
    let largest = payload(256 * 1024);
    cluster.publish_live("acme", &largest).await;
    assert!(client.application_event().await.data == largest);
    cluster.broker.publish("acme", &largest).await;
    assert!(client.application_event().await.data == largest);
    assert_eq!(cluster.broker.status().await["counters"]["eventsDropped"]["too-large"], 0);
}

async fn live_and_durable_events_keep_their_order(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let mut connection = cluster.connection().await;
    let mut last_logged = "0-0".to_owned();
    for number in 0..30 {
        let text = format!("event {number}");
        if number % 3 == 0 {
            last_logged = cluster.broker.publish("acme", &text).await;
        } else {
            publish_live(&mut connection, "acme", &text).await;
        }
        let event = client.next_event(DEADLINE).await;
        assert_eq!(event.data, text);
        let (logged, live) =
            event.id.split_once('~').map_or((&*event.id, None), |(id, live)| (id, Some(live)));
        assert_eq!(logged, last_logged);
        assert_eq!(live.is_some(), number % 3 != 0, "{}", event.id);
    }
    let ids: std::collections::HashSet<_> = client.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 31, "the connected event and 30 events have 31 places");
}
