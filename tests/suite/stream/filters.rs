//! What a client chooses by its query: `types` and `named`.

use crate::support::test_cluster::{on_both_buses, publish_live};
use crate::support::{Bus, Connect, DEADLINE, SseClient, TestCluster};

on_both_buses!(
    types_choose_events,
    filter_never_hides_events_of_the_broker,
    named_streams_carry_the_type,
    streams_are_named_where_the_configuration_says_so,
);

const PAYLOADS: &[&str] = &[
    r#"{"type":"A","n":1}"#,
    r#"{"n":2,"type":"B"}"#,
    r#"{"type":"C"}"#,
    "A",
    r#""A""#,
    r#"{"type":5}"#,
    r#"{"inner":{"type":"A"}}"#,
    r#"[{"type":"A"}]"#,
    r#"{"type":"a"}"#,
    r#"{"type":"A,B"}"#,
    r#"{"type":"\u0041","escaped":true}"#,
    r#"{"type":"A","broken"#,
    r#"{"type":"END"}"#,
];

async fn ready_client(cluster: &TestCluster, query: &str) -> SseClient {
    let mut client = cluster.broker.connect_with("acme", Connect::query(query)).await;
    client.connected().await;
    client
}

async fn types_choose_events(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let cases: &[(&str, &[usize])] = &[
        ("", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ("types=A,END", &[0, 10, 12]),
        ("types=A,B,END", &[0, 1, 10, 12]),
        ("types=A%2CB%2CEND&unknown=parameter", &[0, 1, 10, 12]),
        ("types=END,NONE", &[12]),
    ];
    let mut clients = Vec::new();
    for (query, expected) in cases {
        clients.push((query, ready_client(&cluster, query).await, expected));
    }
    let mut connection = cluster.connection().await;
    for payload in PAYLOADS {
        publish_live(&mut connection, "acme", payload).await;
    }
    for (query, mut client, expected) in clients {
        client.wait_for(DEADLINE, |event| event.data.contains("END")).await;
        let expected: Vec<_> = expected.iter().map(|&index| PAYLOADS[index]).collect();
        assert_eq!(client.application_data(), expected, "{query}");
    }
}

async fn filter_never_hides_events_of_the_broker(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("limits.event_bytes", "100")]).await;
    let mut client = ready_client(&cluster, "types=NONE").await;
    cluster.publish_live("acme", "x".repeat(101)).await;
    client.event_named("tidings.reset").await;
}

async fn named_streams_carry_the_type(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let (mut named, mut plain) =
        (ready_client(&cluster, "named=1").await, ready_client(&cluster, "named=0").await);
    let cases = [
        (r#"{"type":"CHANNEL_UPDATED"}"#, "CHANNEL_UPDATED"),
        (r#"{"type":"with space: and colon"}"#, "with space: and colon"),
        (r#"{"type":"🎉"}"#, "🎉"),
        // These do not fit into a field, or look like an event of the broker.
        (r#"{"type":"a\nb"}"#, "message"),
        (r#"{"type":"a\rdata: x"}"#, "message"),
        (r#"{"type":"a\u0000b"}"#, "message"),
        (r#"{"type":""}"#, "message"),
        (r#"{"type":"tidings.reset"}"#, "message"),
        // A browser would fire its own handlers for these.
        (r#"{"type":"error"}"#, "message"),
        (r#"{"type":"open"}"#, "message"),
        (r#"{"type":"message"}"#, "message"),
        (r#"{"type":"Error"}"#, "Error"),
        (r#"{"type":"opened"}"#, "opened"),
        (r#"{"type":7}"#, "message"),
        ("no JSON", "message"),
    ];
    let mut connection = cluster.connection().await;
    for (payload, kind) in cases {
        publish_live(&mut connection, "acme", payload).await;
        let event = named.next_event(DEADLINE).await;
        assert_eq!((event.kind.as_str(), event.data.as_str()), (kind, payload));
        let event = plain.next_event(DEADLINE).await;
        assert_eq!((event.kind.as_str(), event.data.as_str()), ("message", payload));
    }
}

async fn streams_are_named_where_the_configuration_says_so(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("sse.named", "true")]).await;
    let (mut by_default, mut asked_not) =
        (ready_client(&cluster, "").await, ready_client(&cluster, "named=0").await);
    cluster.broker.publish("acme", r#"{"type":"A"}"#).await;
    assert_eq!(by_default.next_event(DEADLINE).await.kind, "A");
    assert_eq!(asked_not.next_event(DEADLINE).await.kind, "message");
}
