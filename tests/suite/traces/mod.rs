//! Traces: from the publisher through the bus to the streams of each node, into a collector.

mod collector;
mod schema;
mod streams;

use std::time::Duration;

use collector::{ReceivedSpan, TestCollector};

use crate::support::commands::run_tidings;
use crate::support::http::{self, Response};
use crate::support::ports::Port;
use crate::support::redis_server::RedisServer;
use crate::support::test_cluster::on_both_buses;
use crate::support::{
    Broker, BrokerOptions, Bus, Connect, DEADLINE, TestCluster, eventually, eventually_some,
};

on_both_buses!(
    publisher_decides_by_each_way,
    slow_client_is_named_as_the_slowest,
    bucket_has_an_exemplar_in_openmetrics_alone,
    shutdown_exports_the_spans_that_are_left,
);

const EVENTS: &str = "/api/workspaces/acme/events";
const SCRIPT: &str = include_str!("../../../scripts/publish.lua");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-00f067aa0ba902b7-{flags}")
}

async fn post(broker: &Broker, payload: &str, traceparent: &str) -> Response {
    let headers = [("traceparent", traceparent)];
    let response = http::request(broker.address(), "POST", EVENTS, &headers, payload.to_owned()).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

async fn traced(bus: Bus, collector: &TestCollector) -> TestCluster {
    TestCluster::start_with(bus, &[("tracing.otlp.endpoint", &collector.url())]).await
}

fn deliveries(spans: &[ReceivedSpan]) -> Vec<&ReceivedSpan> {
    spans.iter().filter(|span| span.name == "deliver event").collect()
}

#[tokio::test]
async fn each_node_has_a_span_below_the_publication() {
    let (collector, redis) = (TestCollector::start().await, RedisServer::start().await);
    let options = || {
        BrokerOptions::redis(&redis)
            .set("tracing.otlp.endpoint", collector.url())
            .set("tracing.otlp.headers", "authorization=Bearer s3cret")
    };
    let nodes = [Broker::start_ready(options()).await, Broker::start_ready(options()).await];
    let mut clients = Vec::new();
    for node in [0, 0, 1] {
        let mut client = nodes[node].connect("acme").await;
        client.connected().await;
        clients.push(client);
    }
    let id = post(&nodes[0], r#"{"type":"A"}"#, &traceparent("01")).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let spans = collector.wait(3).await;
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    let publication = spans.iter().find(|span| span.kind == 2).unwrap();
    assert_eq!(publication.name, "POST /workspaces/{workspace}/events");
    assert_eq!(publication.parent.as_deref(), Some("00f067aa0ba902b7"));
    assert_eq!(publication.get("http.response.status_code").as_deref(), Some("200"));
    let mut delivered = deliveries(&spans);
    delivered.sort_by_key(|span| span.get("tidings.deliveries"));
    for (span, count) in delivered.iter().zip(["1", "2"]) {
        assert_eq!((span.kind, span.parent.as_deref()), (5, Some(&*publication.span)));
        let attribute = |key: &str| span.get(key).unwrap();
        assert_eq!(attribute("tidings.deliveries"), count);
        assert_eq!(attribute("tidings.streams_behind"), "0");
        assert_eq!(
            (attribute("tidings.workspace"), attribute("tidings.event.id")),
            ("acme".to_owned(), id.clone())
        );
        assert_eq!(attribute("tidings.event.private"), "false");
        assert!(attribute("tidings.event.bytes").parse::<usize>().unwrap() > 12);
        assert!(attribute("tidings.slowest_connection").starts_with(&span.instance));
        assert!(span.nanoseconds < 10_000_000_000 && span.get("tidings.user").is_none());
    }
    assert_ne!(delivered[0].instance, delivered[1].instance);
    assert_eq!(publication.instance, delivered[1].instance);
    assert!(collector.authorizations().iter().all(|value| value == "Bearer s3cret"));
    for node in &nodes {
        let status = node.status().await.to_string();
        assert!(!node.log().contains("s3cret") && !status.contains("s3cret"));
        assert_eq!(node.metric("tidings_spans_total{result=\"dropped\"}").await, Some(0.0));
    }
}

async fn publisher_decides_by_each_way(bus: Bus) {
    let collector = TestCollector::start().await;
    let cluster = traced(bus, &collector).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let mut connection = cluster.connection().await;
    let script = |payload: &'static str, options: String| {
        let mut call = redis::cmd("EVAL");
        call.arg(SCRIPT)
            .arg(1)
            .arg("workspace:acme")
            .arg(payload)
            .arg("")
            .arg("")
            .arg("")
            .arg("")
            .arg(options);
        call
    };
    // None of these has a span.
    post(&cluster.broker, "unsampled", &traceparent("00")).await;
    post(&cluster.broker, "invalid", "00-x-y-01").await;
    cluster.broker.publish("acme", "without").await;
    cluster.publish_live("acme", "live").await;
    for options in
        [format!(r#"{{"traceparent":"{}"}}"#, traceparent("00")), r#"{"traceparent":"x"}"#.to_owned()]
    {
        script("script", options).query_async::<String>(&mut connection).await.unwrap();
    }
    // All of these have one.
    post(&cluster.broker, "http", &traceparent("01")).await;
    let options = format!(r#"{{"traceparent":"{}"}}"#, traceparent("01"));
    script("script", options).query_async::<String>(&mut connection).await.unwrap();
    let private = format!(r#"{{"to":["u1"],"traceparent":"{}"}}"#, traceparent("01"));
    script("private", private).query_async::<String>(&mut connection).await.unwrap();
    let mut recipe = redis::pipe();
    recipe.atomic().cmd("XADD").arg("workspace:acme").arg("*").arg("data").arg("by hand");
    recipe.arg("traceparent").arg(traceparent("01")).ignore();
    recipe.cmd("PUBLISH").arg("workspace:acme").arg("").ignore();
    recipe.exec_async(&mut connection).await.unwrap();
    client.wait_for(DEADLINE, |event| event.data == "by hand").await;

    let spans = collector.wait(5).await;
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    let mut found: Vec<_> = deliveries(&spans)
        .iter()
        .map(|span| (span.get("tidings.deliveries").unwrap(), span.get("tidings.event.private").unwrap()))
        .collect();
    found.sort();
    let public = ("1".to_owned(), "false".to_owned());
    assert_eq!(found, [("0".to_owned(), "true".to_owned()), public.clone(), public.clone(), public]);
    assert_eq!(client.application_data().len(), 10 - 1, "{:?}", client.application_data());

    // An object with another member, or without a trace, publishes nothing.
    for options in [
        format!(r#"{{"traceparent":"{}","To":["u1"]}}"#, traceparent("01")),
        format!(r#"{{"traceparent":"{}","to":null}}"#, traceparent("01")),
        format!(r#"{{"traceparent":"{}","to":[]}}"#, traceparent("01")),
        r#"{"to":["u1"]}"#.to_owned(),
    ] {
        let refused = script("refused", options.clone()).query_async::<String>(&mut connection).await;
        assert!(refused.unwrap_err().to_string().contains("audience"), "{options}");
    }
}

/// The writer changes the name of its streams, and nothing else.
async fn slow_client_is_named_as_the_slowest(bus: Bus) {
    let collector = TestCollector::start().await;
    let url = collector.url();
    let settings = [
        ("tracing.otlp.endpoint", url.as_str()),
        ("server.send_buffer_bytes", "16384"),
        ("ring.bytes", "4194304"),
    ];
    let cluster = TestCluster::start_with(bus, &settings).await;
    let mut quick = cluster.broker.connect("acme").await;
    quick.connected().await;
    let options = Connect { receive_buffer: Some(8192), ..Connect::default() };
    let mut slow = cluster.broker.connect_with("acme", options).await;
    let name = slow.connected().await.json()["connectionId"].as_str().unwrap().to_owned();
    slow.stop_reading();
    let large = "x".repeat(200_000);
    // They fill the buffers of the kernel and of the HTTP server.
    for _ in 0..10 {
        cluster.broker.publish("acme", &large).await;
    }
    post(&cluster.broker, &format!("last:{large}"), &traceparent("01")).await;
    quick.wait_for(DEADLINE, |event| event.data.starts_with("last:")).await;
    let spans = collector.wait(2).await;
    let span = deliveries(&spans)[0];
    let attribute = |key: &str| span.get(key).unwrap();
    assert_eq!(
        (attribute("tidings.deliveries"), attribute("tidings.streams_behind")),
        ("1".to_owned(), "1".to_owned())
    );
    assert_eq!(attribute("tidings.slowest_connection"), name);
}

async fn bucket_has_an_exemplar_in_openmetrics_alone(bus: Bus) {
    let collector = TestCollector::start().await;
    let cluster = traced(bus, &collector).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let id = post(&cluster.broker, "x", &traceparent("01")).await.json()["id"].as_str().unwrap().to_owned();
    let accept = [("accept", "application/openmetrics-text;version=1.0.0")];
    let line = eventually_some("the exemplar", DEADLINE, async || {
        let page = http::request(cluster.broker.admin(), "GET", "/metrics", &accept, "").await;
        page.text().lines().find(|line| line.contains(" # {")).map(str::to_owned)
    })
    .await;
    let (sample, exemplar) = line.split_once(" # ").unwrap();
    let bound =
        sample.strip_prefix("tidings_delivery_seconds_bucket{le=\"").unwrap().split('"').next().unwrap();
    let labels = format!("{{trace_id=\"{TRACE}\",event_id=\"{id}\"}}");
    let rest = exemplar.strip_prefix(&labels).unwrap();
    let [value, time] =
        rest.split_whitespace().map(|text| text.parse::<f64>().unwrap()).collect::<Vec<_>>()[..]
    else {
        panic!("{line}")
    };
    assert!(bound == "+Inf" || value <= bound.parse().unwrap(), "{line}");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - 60.0..now + 1.0).contains(&time), "{line}");
    // Names and values of the labels, without quotes (OpenMetrics 1.0, "Exemplars").
    assert!("trace_id".len() + TRACE.len() + "event_id".len() + id.len() <= 128);
    assert!(!cluster.broker.metrics().await.contains(" # {"), "the older format has none");
}

async fn shutdown_exports_the_spans_that_are_left(bus: Bus) {
    let collector = TestCollector::start().await;
    let mut cluster = traced(bus, &collector).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    post(&cluster.broker, "x", &traceparent("01")).await;
    client.application_event().await;
    assert_eq!(cluster.broker.terminate(DEADLINE).await, Some(0));
    assert_eq!(collector.spans().len(), 2, "they were not sent before");
}

#[tokio::test]
async fn collector_that_is_away_costs_a_count_and_a_line() {
    let port = Port::claim();
    let settings = [
        ("tracing.otlp.endpoint", format!("http://{}", port.address())),
        ("tracing.otlp.headers", "authorization=Bearer s3cret".to_owned()),
    ];
    let settings = settings.each_ref().map(|(key, value)| (*key, value.as_str()));
    let mut cluster = TestCluster::start_with(Bus::Embedded, &settings).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    for number in 0..20 {
        post(&cluster.broker, &number.to_string(), &traceparent("01")).await;
    }
    client.wait_for(DEADLINE, |event| event.data == "19").await;
    eventually("all are dropped", DEADLINE, async || {
        cluster.broker.metric("tidings_spans_total{result=\"dropped\"}").await == Some(40.0)
    })
    .await;
    let log = cluster.broker.log();
    let lines = log.lines().filter(|line| line.contains("the collector does not take spans")).count();
    assert!((1..=4).contains(&lines) && !log.contains("s3cret"), "{log}");
    post(&cluster.broker, "last", &traceparent("01")).await;
    assert_eq!(cluster.broker.terminate(Duration::from_secs(10)).await, Some(0));
}

#[tokio::test]
async fn spans_wait_for_a_collector_that_is_overloaded() {
    let collector = TestCollector::start().await;
    collector.respond(Some(503));
    let cluster = traced(Bus::Embedded, &collector).await;
    post(&cluster.broker, "x", &traceparent("01")).await;
    eventually("an attempt", DEADLINE, async || collector.requests() > 0).await;
    collector.respond(None);
    collector.wait(1).await;
    collector.respond(Some(400));
    post(&cluster.broker, "y", &traceparent("01")).await;
    eventually("no second attempt", DEADLINE, async || {
        cluster.broker.metric("tidings_spans_total{result=\"dropped\"}").await == Some(1.0)
    })
    .await;
    assert_eq!(cluster.broker.metric("tidings_spans_total{result=\"exported\"}").await, Some(1.0));
}

#[tokio::test]
async fn ratio_begins_traces_of_events_without_one() {
    let collector = TestCollector::start().await;
    let url = collector.url();
    let settings = [("tracing.otlp.endpoint", url.as_str()), ("tracing.ratio", "1.0")];
    let cluster = TestCluster::start_with(Bus::Embedded, &settings).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    cluster.broker.publish("acme", "http").await;
    cluster.publish_live("acme", "live").await;
    let spans = collector.wait(3).await;
    let publication = spans.iter().find(|span| span.kind == 2).unwrap();
    assert_eq!(publication.parent, None);
    let below = |span: &&ReceivedSpan| {
        span.parent.as_ref() == Some(&publication.span) && span.trace == publication.trace
    };
    assert_eq!(spans.iter().filter(below).count(), 1);
    let live = spans.iter().filter(|span| span.kind == 5 && span.parent.is_none());
    assert_eq!(live.count(), 1);
}

#[tokio::test]
async fn check_tries_the_collector() {
    let collector = TestCollector::start().await;
    let check = async |settings: &[(&str, &str)]| {
        let url = collector.url();
        let all = [&[("tracing.otlp.endpoint", url.as_str()), ("embedded.listen", "127.0.0.1:0")], settings]
            .concat();
        run_tidings(&["check"], &all).await
    };
    let free = [("server.listen", "127.0.0.1:0"), ("admin.listen", "127.0.0.1:0")];
    let said = check(&free).await.success();
    assert!(said.contains("ok    collector at tracing.otlp.endpoint: it accepts spans"), "{said}");
    collector.respond(Some(401));
    let finished = check(&free).await;
    assert!(finished.stdout.contains("FAIL  collector at tracing.otlp.endpoint"), "{}", finished.stdout);
    assert!(finished.stdout.contains("401"), "{}", finished.stdout);
    assert_eq!(collector.spans().len(), 0);
    for (key, value) in [
        ("tracing.otlp.headers", "no header"),
        ("tracing.otlp.endpoint", "127.0.0.1:4318"),
        ("tracing.otlp.endpoint", "http://name:s3cret@host"),
        ("tracing.ratio", "1.5"),
    ] {
        let error = run_tidings(&["check"], &[(key, value)]).await.failure(2);
        assert!(error.contains(key) && !error.contains("s3cret"), "{error}");
    }
}
