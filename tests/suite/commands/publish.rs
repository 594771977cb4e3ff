//! `tidings publish`.

use super::url;
use crate::support::commands::{Finished, run_tidings, run_tidings_with_input};
use crate::support::test_cluster::on_both_buses;
use crate::support::{Bus, DEADLINE, RedisOptions, RedisServer, SseClient, TestCluster};

on_both_buses!(
    an_argument_is_published_over_http,
    standard_input_is_published,
    a_refusal_is_repeated,
    trace_is_published_over_http,
);

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn greeted(cluster: &TestCluster) -> SseClient {
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    client
}

/// The command printed the id of the event that the client gets next, and nothing else.
async fn check_published(finished: Finished, client: &mut SseClient, payload: &str) {
    let printed = finished.success();
    let event = client.next_event(DEADLINE).await;
    assert_eq!((event.data.as_str(), format!("{}\n", event.id)), (payload, printed));
}

async fn an_argument_is_published_over_http(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = greeted(&cluster).await;
    for payload in [r#"{"type":"A"}"#, "-5", "--flag", "plain text", "a\nb"] {
        let finished = run_tidings(&["publish", "--url", &url(&cluster.broker), "acme", payload], &[]).await;
        check_published(finished, &mut client, payload).await;
    }
    // Without an address it is the broker that the configuration describes.
    let listen = cluster.broker.address().to_string();
    let finished = run_tidings(&["publish", "acme", "x"], &[("server.listen", &listen)]).await;
    check_published(finished, &mut client, "x").await;
}

async fn standard_input_is_published(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = greeted(&cluster).await;
    let url = url(&cluster.broker);
    for arguments in [&["publish", "acme", "-"][..], &["publish", "acme"]] {
        let arguments = [arguments, &["--url", &url]].concat();
        let finished = run_tidings_with_input(&arguments, &[], "from\nstandard input").await;
        check_published(finished, &mut client, "from\nstandard input").await;
    }
}

async fn a_refusal_is_repeated(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("limits.event_bytes", "100")]).await;
    let large = "x".repeat(101);
    let stderr =
        run_tidings(&["publish", "--url", &url(&cluster.broker), "acme", &large], &[]).await.failure(1);
    assert!(stderr.starts_with("tidings: ") && stderr.contains("413"), "{stderr}");
    assert!(stderr.contains("limits.event_bytes"), "{stderr}");
}

async fn trace_is_published_over_http(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("tracing.in_streams", "true")]).await;
    let mut client = greeted(&cluster).await;
    let url = url(&cluster.broker);
    run_tidings(&["publish", "--url", &url, "acme", "x", "--traceparent", TRACE], &[]).await.success();
    assert_eq!(client.next_event(DEADLINE).await.comments, [format!("traceparent={TRACE}")]);
}

#[tokio::test]
async fn trace_is_published_over_redis() {
    let server = RedisServer::start().await;
    let settings: &[_] = &[("redis.url", &*server.url())];
    let arguments = ["publish", "acme", "x", "--traceparent", TRACE, "--to", "ann"];
    run_tidings(&arguments, settings).await.success();
    let newest: Vec<(String, Vec<String>)> =
        server.command(&["XREVRANGE", "workspace:acme", "+", "-", "COUNT", "1"]).await;
    let fields: Vec<_> = newest[0].1.as_chunks::<2>().0.iter().collect();
    assert!(fields.contains(&&["traceparent".to_owned(), TRACE.to_owned()]), "{newest:?}");
    assert!(fields.contains(&&["to".to_owned(), r#"["ann"]"#.to_owned()]), "{newest:?}");
}

#[tokio::test]
async fn a_configured_redis_needs_no_broker() {
    let options = RedisOptions { password: Some("secret".to_owned()), ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;
    for url in [server.url(), format!("{}?pass=secret", server.socket_url())] {
        let published = run_tidings(&["publish", "acme", "x"], &[("redis.url", &url)]).await.success();
        let newest: Vec<(String, Vec<String>)> =
            server.command(&["XREVRANGE", "workspace:acme", "+", "-", "COUNT", "1"]).await;
        assert_eq!(format!("{}\n", newest[0].0), published);
        assert_eq!(newest[0].1[..2], ["data", "x"]);
    }
    // An address of a broker is stronger than a configured Redis.
    let nobody = ["publish", "acme", "x", "--url", "http://127.0.0.1:1/api"];
    let stderr = run_tidings(&nobody, &[("redis.url", &server.url())]).await.failure(1);
    assert!(stderr.contains("127.0.0.1:1"), "{stderr}");
    assert_eq!(server.command::<u64>(&["XLEN", "workspace:acme"]).await, 2);

    let settings: &[_] = &[("redis.url", &*server.url()), ("limits.event_bytes", "10")];
    let stderr = run_tidings(&["publish", "acme", "more than ten bytes"], settings).await.failure(1);
    assert!(stderr.contains("19 bytes") && stderr.contains("limits.event_bytes"), "{stderr}");
}

#[tokio::test]
async fn rejected_publication_is_reported() {
    let nobody = "http://127.0.0.1:1/api";
    for (arguments, input, code, word) in [
        (&["publish", "a b", "x"][..], "", 2, "A-Z a-z 0-9 . _ ~ -"),
        (&["publish", "acme", ""], "", 2, "empty"),
        (&["publish", "acme"], "", 2, "empty"),
        (&["publish", "acme", "x", "--url", "nonsense"], "", 2, "`nonsense` is not a URL"),
        (&["publish", "acme", "x", "--url", nobody], "", 1, "cannot reach http://127.0.0.1:1/api"),
        (&["publish"], "", 2, "<WORKSPACE>"),
        (&["publish", "acme", "x", "--traceparent", "00-x"], "", 2, "expected a traceparent such as 00-"),
        (&["publish", "acme", "x", "more"], "", 2, "unexpected argument"),
    ] {
        let stderr = run_tidings_with_input(arguments, &[], input).await.failure(code);
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
    }
    let settings = [("redis.url", "redis://:hidden@127.0.0.1:1")];
    let stderr = run_tidings(&["publish", "acme", "x"], &settings).await.failure(1);
    assert!(stderr.contains("Connection refused") && !stderr.contains("hidden"), "{stderr}");
}
