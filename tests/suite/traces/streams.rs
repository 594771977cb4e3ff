//! Traces in streams: the comment in the block of an event.

use super::*;
use crate::support::{Event, SseClient};

on_both_buses!(
    frame_has_the_trace_of_its_publisher,
    frame_has_the_span_of_its_publication,
    stream_has_no_trace_by_default,
);

/// The payloads of events, each with its comments.
fn commented(events: &[Event]) -> Vec<(String, Vec<String>)> {
    let own = events.iter().filter(|event| event.is_from_application());
    own.map(|event| (event.data.clone(), event.comments.clone())).collect()
}

async fn opened(cluster: &TestCluster, query: &str) -> SseClient {
    let mut client = cluster.broker.connect_with("acme", Connect::query(query)).await;
    client.connected().await;
    client
}

/// Publishes by each way. Returns the payloads in order, each with the comment of its frame.
async fn publish_all(cluster: &TestCluster) -> Vec<(String, Vec<String>)> {
    let (sampled, unsampled) = (traceparent("01"), traceparent("00"));
    let mut connection = cluster.connection().await;
    post(&cluster.broker, r#"{"type":"http"}"#, &sampled).await;
    cluster.broker.publish("acme", "without").await;
    post(&cluster.broker, "unsampled", &unsampled).await;
    post(&cluster.broker, "invalid", "00-x-y-01").await;
    let options = format!(r#"{{"traceparent":"{sampled}"}}"#);
    let mut script = redis::cmd("EVAL");
    script.arg(SCRIPT).arg(1).arg("workspace:acme").arg("two\nlines").arg("").arg("").arg("").arg("");
    script.arg(options).query_async::<String>(&mut connection).await.unwrap();
    let mut recipe = redis::pipe();
    recipe.atomic().cmd("XADD").arg("workspace:acme").arg("*").arg("data").arg("by hand");
    recipe.arg("traceparent").arg(&sampled).ignore();
    recipe.cmd("PUBLISH").arg("workspace:acme").arg("").ignore();
    recipe.exec_async(&mut connection).await.unwrap();
    cluster.broker.publish("acme", "last").await;
    let traced = || vec![format!("traceparent={sampled}")];
    [
        (r#"{"type":"http"}"#, traced()),
        ("without", vec![]),
        ("unsampled", vec![]),
        ("invalid", vec![]),
        ("two\nlines", traced()),
        ("by hand", traced()),
        ("last", vec![]),
    ]
    .map(|(payload, comments)| (payload.to_owned(), comments))
    .into()
}

async fn frame_has_the_trace_of_its_publisher(bus: Bus) {
    for writer in ["handoff", "body"] {
        let settings = [("tracing.in_streams", "true"), ("delivery.writer", writer)];
        let cluster = TestCluster::start_with(bus, &settings).await;
        let mut live = Vec::new();
        for query in ["", "named=1", "types=http"] {
            live.push(opened(&cluster, query).await);
        }
        let expected = publish_all(&cluster).await;
        for client in &mut live[..2] {
            client.wait_for(DEADLINE, |event| event.data == "last").await;
            assert_eq!(commented(&client.events()), expected, "{writer}");
        }
        live[2].application_event().await;
        assert_eq!(commented(&live[2].events()), expected[..1]);
        // The log has the same.
        let mut replaying = opened(&cluster, "last=7&named=1").await;
        replaying.wait_for(DEADLINE, |event| event.data == "last").await;
        assert_eq!(commented(&replaying.events()), expected, "{writer}");
        // So has a page with live positions, where live events of another node may be missing.
        cluster.publish_live("acme", "live").await;
        live[0].wait_for(DEADLINE, |event| event.data == "live").await;
        let first = live[0].events().into_iter().find(Event::is_from_application).unwrap();
        let mut elsewhere =
            cluster.broker.connect_with("acme", Connect::after(&(first.id + "~k3v9x2ab.1"))).await;
        let last = elsewhere.wait_for(DEADLINE, |event| event.data == "last").await;
        assert!(last.id.contains('~'), "{last:?}");
        assert_eq!(commented(&elsewhere.events())[..6], expected[1..], "{writer}");
        // A live event has no trace of its publisher.
        assert_eq!(commented(&live[0].events())[7..], [("live".to_owned(), vec![])]);
    }
}

async fn frame_has_the_span_of_its_publication(bus: Bus) {
    let collector = TestCollector::start().await;
    let url = collector.url();
    let settings = [("tracing.otlp.endpoint", url.as_str()), ("tracing.in_streams", "true")];
    let cluster = TestCluster::start_with(bus, &settings).await;
    let mut client = opened(&cluster, "").await;
    post(&cluster.broker, "x", &traceparent("01")).await;
    let event = client.application_event().await;
    let spans = collector.wait(2).await;
    let publication = spans.iter().find(|span| span.kind == 2).unwrap();
    assert_eq!(event.comments, [format!("traceparent=00-{TRACE}-{}-01", publication.span)]);
}

async fn stream_has_no_trace_by_default(bus: Bus) {
    let collector = TestCollector::start().await;
    let cluster = traced(bus, &collector).await;
    let mut client = opened(&cluster, "").await;
    post(&cluster.broker, "x", &traceparent("01")).await;
    assert_eq!(client.application_event().await.comments, [""; 0]);
    collector.wait(2).await;
}
