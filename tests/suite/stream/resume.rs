//! Streams that resume with a position.

use serde_json::json;

use crate::support::test_cluster::{on_both_buses, publish_live};
use crate::support::{Broker, BrokerOptions, Bus, Connect, DEADLINE, EventSource, SseClient, TestCluster};

on_both_buses!(
    missed_events_come_first,
    the_query_names_a_position_too,
    the_names_of_client_libraries_are_understood,
    position_of_a_library_has_priority_over_since,
    contradicting_positions_cause_a_reset,
    every_position_of_a_stream_can_be_resumed_from,
    unknown_position_causes_a_reset,
    position_outside_the_ring_causes_a_reset,
    logged_position_outside_the_ring_resumes_from_the_log,
    position_of_another_workspace_causes_a_reset,
    restarted_node_rejects_its_old_positions,
);

/// Publishes numbered events, every second one durable, and returns their data.
async fn publish_some(cluster: &TestCluster, numbers: std::ops::Range<u32>) -> Vec<String> {
    let mut connection = cluster.connection().await;
    let mut published = Vec::new();
    for number in numbers {
        let text = format!("event {number}");
        if number % 2 == 0 {
            cluster.broker.publish("acme", &text).await;
        } else {
            publish_live(&mut connection, "acme", &text).await;
        }
        published.push(text);
    }
    published
}

/// Reads events of the application until all that were expected have come.
async fn expect(client: &mut SseClient, expected: &[String]) {
    for text in expected {
        let event = client.next_event(DEADLINE).await;
        assert_eq!((&event.data, event.kind.as_str()), (text, "message"));
    }
}

async fn missed_events_come_first(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut first = cluster.broker.connect("acme").await;
    first.connected().await;
    let seen = publish_some(&cluster, 0..6).await;
    expect(&mut first, &seen).await;
    let position = first.last_event_id();
    drop(first);

    let missed = publish_some(&cluster, 6..12).await;
    let mut second = cluster.broker.connect_with("acme", Connect::after(&position)).await;
    let connected = second.connected().await;
    let connection = connected.json()["connectionId"].clone();
    assert_eq!(
        connected.json(),
        json!({ "type": "connected", "workspaceId": "acme", "resumed": true, "connectionId": connection, "heartbeatMs": 15_000 })
    );
    assert_eq!(
        connected.id, position,
        "the connected event does not move the client past what it is about to get"
    );
    expect(&mut second, &missed).await;
    let later = publish_some(&cluster, 12..14).await;
    expect(&mut second, &later).await;
}

async fn the_query_names_a_position_too(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut first = cluster.broker.connect("acme").await;
    let begin = first.connected().await.id;
    let published = publish_some(&cluster, 0..4).await;
    expect(&mut first, &published).await;
    let end = first.last_event_id();

    let mut by_query =
        cluster.broker.connect_with("acme", Connect::query(&format!("last_event_id={begin}"))).await;
    assert_eq!(by_query.connected().await.json()["resumed"], true);
    expect(&mut by_query, &published).await;

    // A browser keeps the query of its first request and sends its position in the header.
    let both = Connect { last_event_id: Some(end), ..Connect::query(&format!("last_event_id={begin}")) };
    let mut by_header = cluster.broker.connect_with("acme", both).await;
    assert_eq!(by_header.connected().await.json()["resumed"], true);
    let later = publish_some(&cluster, 4..6).await;
    expect(&mut by_header, &later).await;
}

async fn the_names_of_client_libraries_are_understood(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut first = cluster.broker.connect("acme").await;
    let begin = first.connected().await.id;
    let published = publish_some(&cluster, 0..3).await;
    expect(&mut first, &published).await;
    let escaped = begin.replace('~', "%7E").replace('-', "%2d");
    for query in [
        format!("lastEventId={begin}"),
        format!("lastEventID={begin}"),
        format!("Last-Event-ID={begin}"),
        format!("last-event-id={begin}"),
        format!("&lastEventId={escaped}"),
        format!("last%45ventId={begin}&named=0"),
        // Nothing is said twice, and what is empty says nothing.
        format!("lastEventId={begin}&lastEventID={begin}&Last-Event-ID="),
        format!("lastEventId=&last_event_id={begin}&lastEventID"),
    ] {
        let mut client = cluster.broker.connect_with("acme", Connect::query(&query)).await;
        let connected = client.connected().await;
        assert_eq!((connected.json()["resumed"].as_bool(), &connected.id), (Some(true), &begin), "{query}");
        expect(&mut client, &published).await;
    }
    for query in ["lastEventId=", "lastEventID", "Last-Event-ID=&last_event_id="] {
        let mut client = cluster.broker.connect_with("acme", Connect::query(query)).await;
        let connected = client.connected().await;
        assert_eq!(
            (connected.json()["resumed"].as_bool(), connected.id),
            (Some(false), first.last_event_id())
        );
    }
}

/// A page's own parameters stay in the address with which a library reconnects; some libraries only
/// add theirs to them.
async fn position_of_a_library_has_priority_over_since(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut first = cluster.broker.connect("acme").await;
    let begin = first.connected().await.id;
    let published = publish_some(&cluster, 0..4).await;
    expect(&mut first, &published).await;
    let ids: Vec<_> = first.events().into_iter().map(|event| event.id).collect();
    let newer = &ids[2];
    for query in [
        format!("last_event_id={begin}&lastEventId={newer}"),
        format!("lastEventID={newer}&last_event_id={begin}"),
        format!("lastEventId={begin}&lastEventId={newer}"),
        format!("last_event_id={begin}&last_event_id={newer}"),
        format!("since=0&lastEventId={newer}"),
        format!("last=100&Last-Event-ID={newer}"),
        format!("since=0&last_event_id={newer}"),
    ] {
        let mut client = cluster.broker.connect_with("acme", Connect::query(&query)).await;
        let connected = client.connected().await;
        assert_eq!((connected.json()["resumed"].as_bool(), &connected.id), (Some(true), newer), "{query}");
        expect(&mut client, &published[2..]).await;
    }
    let query = format!("lastEventId={begin}&lastEventID=garbage");
    let both = Connect { last_event_id: Some(newer.clone()), ..Connect::query(&query) };
    let mut by_header = cluster.broker.connect_with("acme", both).await;
    assert_eq!(by_header.connected().await.id, *newer);
    expect(&mut by_header, &published[2..]).await;
}

async fn contradicting_positions_cause_a_reset(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let one = cluster.broker.publish("acme", "one").await;
    let two = cluster.broker.publish("acme", "two").await;
    let both = format!("{one}, {two}");
    let headers = Connect::after(&one).header("Last-Event-ID", &two);
    let mut head = two.clone();
    for options in [
        Connect::query(&format!("lastEventId={one}&lastEventID={two}")),
        Connect::query(&format!("last_event_id={two}&Last-Event-ID={two}&lastEventId={one}")),
        headers,
    ] {
        let mut client = cluster.broker.connect_with("acme", options.clone()).await;
        assert_eq!(client.status(), 200);
        assert_eq!(client.connected().await.json()["resumed"], false, "{options:?}");
        let reset = client.event_named("tidings.reset").await;
        assert_eq!(reset.json(), json!({ "reason": "unknown-position", "from": both, "head": head }));
        head = cluster.broker.publish("acme", "next").await;
        assert_eq!(client.next_event(DEADLINE).await.id, head);
    }
}

async fn every_position_of_a_stream_can_be_resumed_from(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut first = cluster.broker.connect("acme").await;
    first.connected().await;
    let published = publish_some(&cluster, 0..8).await;
    expect(&mut first, &published).await;
    let positions: Vec<_> = first.events().into_iter().map(|event| event.id).collect();
    for (index, position) in positions.iter().enumerate() {
        let mut client = cluster.broker.connect_with("acme", Connect::after(position)).await;
        let connected = client.connected().await;
        assert_eq!((connected.json()["resumed"].as_bool(), &connected.id), (Some(true), position));
        expect(&mut client, &published[index..]).await;
    }
}

async fn unknown_position_causes_a_reset(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut watcher = cluster.broker.connect("acme").await;
    watcher.connected().await;
    let id = cluster.broker.publish("acme", "before").await;
    watcher.application_event().await;

    let unknown = "unknown-position";
    let (long, told) = ("x".repeat(1000), "x".repeat(128));
    for (position, told, reason) in [
        ("garbage", "garbage", unknown),
        ("1-0", "1-0", "trimmed"),
        ("99999999999999-0", "99999999999999-0", "rolled-back"),
        ("0-0~abcdefgh.1", "0-0~abcdefgh.1", unknown),
        ("a b ä \"c\"", "a b ä \"c\"", unknown),
        (&long, &told, unknown),
    ] {
        let mut client = cluster.broker.connect_with("acme", Connect::after(position)).await;
        let connected = client.next_event(DEADLINE).await;
        assert_eq!(connected.json()["resumed"], false);
        // A client that loses its connection right here resumes with its old position, and gets the
        // reset again.
        assert_eq!(connected.id, "", "{position}");
        let reset = client.next_event(DEADLINE).await;
        assert_eq!((reset.kind.as_str(), &reset.id), ("tidings.reset", &id));
        assert_eq!(reset.json(), json!({ "reason": reason, "from": told, "head": id }));
    }

    // What a client sends is shown to it, and cannot become fields of the stream.
    let query = "last_event_id=x%0A%0Adata:%20forged%0D%0Aid:%207%00";
    let mut client = cluster.broker.connect_with("acme", Connect::query(query)).await;
    let reset = client.event_named("tidings.reset").await;
    assert_eq!(reset.json()["from"], "x\n\ndata: forged\r\nid: 7\0");
    cluster.broker.publish("acme", "after").await;
    assert_eq!(client.next_event(DEADLINE).await.data, "after");
    assert_eq!(client.events().len(), 3);
}

async fn position_outside_the_ring_causes_a_reset(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("ring.events", "4")]).await;
    let mut first = cluster.broker.connect("acme").await;
    let begin = first.connected().await.id;
    let published: Vec<_> = (0..6).map(|number| format!("live {number}")).collect();
    for payload in &published {
        cluster.publish_live("acme", payload).await;
        // One by one: the reader must not fall out of so small a ring itself.
        expect(&mut first, std::slice::from_ref(payload)).await;
    }
    let positions: Vec<_> = first.events().into_iter().map(|event| event.id).collect();

    // The ring holds the last four; the place right before the oldest of them is the oldest that it
    // can prove.
    let mut client = cluster.broker.connect_with("acme", Connect::after(&positions[2])).await;
    assert_eq!(client.connected().await.json()["resumed"], true);
    expect(&mut client, &published[2..]).await;
    for gone in [&positions[1], &begin] {
        let mut client = cluster.broker.connect_with("acme", Connect::after(gone)).await;
        client.connected().await;
        assert_eq!(client.next_event(DEADLINE).await.json()["reason"], "live-events");
    }
}

/// An event outside the log is gone with the ring, and a reset says so.
async fn logged_position_outside_the_ring_resumes_from_the_log(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("ring.events", "4")]).await;
    let mut first = cluster.broker.connect("acme").await;
    first.connected().await;
    let mut published = Vec::new();
    for number in 0..8 {
        published.extend(publish_some(&cluster, number..number + 1).await);
        expect(&mut first, &published[number as usize..]).await;
    }
    let begin = first.events()[1].id.clone();
    let mut client = cluster.broker.connect_with("acme", Connect::after(&begin)).await;
    assert_eq!(client.connected().await.json()["resumed"], true);
    assert_eq!(client.event_named("tidings.reset").await.json()["reason"], "live-events");
    let got = client.application_data();
    assert!(got.contains(&published[2]) && !got.contains(&published[1]), "{got:?}");
}

/// Redis keeps the log, so a logged position is good on any node.
#[tokio::test]
async fn a_logged_position_outlives_memory_and_node() {
    let cluster = TestCluster::start_with(Bus::Redis, &[("ring.events", "4")]).await;
    let other = Broker::start(BrokerOptions::redis(cluster.redis())).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let mut published = Vec::new();
    for number in 0..12 {
        let id = cluster.broker.publish("acme", &format!("event {number}")).await;
        assert_eq!(client.next_event(DEADLINE).await.id, id);
        published.push((id, format!("event {number}")));
    }
    for broker in [&cluster.broker, &other] {
        for (index, (position, _)) in published.iter().enumerate() {
            let mut back = broker.connect_with("acme", Connect::after(position)).await;
            let connected = back.connected().await;
            assert_eq!((connected.json()["resumed"].as_bool(), &connected.id), (Some(true), position));
            for (id, payload) in &published[index + 1..] {
                let event = back.next_event(DEADLINE).await;
                assert_eq!((&event.id, &event.data), (id, payload));
            }
        }
    }
    // And so it goes on, on both.
    let mut back = other.connect_with("acme", Connect::after(&published[11].0)).await;
    back.connected().await;
    let id = cluster.broker.publish("acme", "to everyone").await;
    for client in [&mut client, &mut back] {
        assert_eq!(client.next_event(DEADLINE).await.id, id);
    }
}

async fn position_of_another_workspace_causes_a_reset(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut other = cluster.broker.connect("other").await;
    other.connected().await;
    cluster.publish_live("other", "theirs").await;
    let position = other.application_event().await.id;
    let mut client = cluster.broker.connect_with("acme", Connect::after(&position)).await;
    assert_eq!(client.connected().await.json()["resumed"], false);
    assert_eq!(client.next_event(DEADLINE).await.kind, "tidings.reset");
    assert!(client.application_data().is_empty());
}

async fn restarted_node_rejects_its_old_positions(bus: Bus) {
    let mut cluster = TestCluster::start_with(bus, &[("sse.retry_ms", "100")]).await;
    let mut source = EventSource::open(cluster.broker.address(), "acme", Connect::default());
    source.connected().await;
    cluster.publish_live("acme", "one").await;
    source.wait_for(DEADLINE, |event| event.data == "one").await;
    if bus == Bus::Redis {
        // The broker is killed, and only the mark shows the next one that there are live events.
        cluster.is_marked("acme").await;
    }
    cluster.broker.restart().await;
    let reset = source.wait_for(DEADLINE, |event| event.kind == "tidings.reset").await;
    // A log that is kept in memory has ended with its broker.
    let reason = if bus == Bus::Redis { "live-events" } else { "trimmed" };
    assert_eq!(reset.json()["reason"], reason);
    cluster.publish_live("acme", "two").await;
    source.wait_for(DEADLINE, |event| event.data == "two").await;
    assert_eq!(source.application_data(), ["one", "two"]);
}
