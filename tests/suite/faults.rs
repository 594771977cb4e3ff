//! Faults that operators have to notice: each one changes a metric, and a sound node has none of
//! them.

use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt as _;

use crate::support::directory::Directory;
use crate::support::token::SECRET;
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, RedisOptions, RedisServer, eventually, http};

const EVENTS: &str = "/api/workspaces/acme/events";

async fn expect(broker: &Broker, metric: &str, value: f64) {
    eventually(&format!("{metric} is {value}"), DEADLINE, async || {
        broker.metric(metric).await == Some(value)
    })
    .await;
}

#[tokio::test]
async fn restart_of_redis_without_its_data_counts_each_lost_log() {
    let mut redis = RedisServer::start().await;
    let broker = Broker::start_ready(BrokerOptions::redis(&redis)).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    let id = broker.publish("acme", "1").await;
    client.wait_for(DEADLINE, |event| event.data == "1").await;

    // A client that claims to be ahead of its log gets a reset, and proves nothing.
    let ahead = Connect { last_event_id: Some("1996045566024-0".to_owned()), ..Connect::default() };
    let mut ahead = broker.connect_with("acme", ahead).await;
    ahead.wait_for(DEADLINE, |event| event.data.contains("rolled-back")).await;
    assert_eq!(broker.metric("tidings_log_losses_total").await, Some(0.0), "{id}");

    redis.restart().await;
    client.wait_for(DEADLINE, |event| event.kind == "tidings.reset").await;
    expect(&broker, "tidings_log_losses_total", 1.0).await;
    broker.publish("acme", "2").await;
    client.wait_for(DEADLINE, |event| event.data == "2").await;
    assert_eq!(broker.metric("tidings_log_losses_total").await, Some(1.0));
}

#[tokio::test]
async fn clock_is_compared_with_that_of_redis() {
    let redis = RedisServer::start().await;
    let broker = Broker::start_ready(BrokerOptions::redis(&redis)).await;
    eventually("the node asks for the time", DEADLINE, async || {
        redis.info("commandstats").await.contains("cmdstat_time:")
    })
    .await;
    eventually("the difference is shown", DEADLINE, async || {
        broker
            .metric("tidings_bus_clock_difference_seconds")
            .await
            .is_some_and(|seconds| seconds != 0.0 && seconds.abs() < 0.5)
    })
    .await;
}

#[tokio::test]
async fn key_set_that_was_never_fetched_is_no_known_one() {
    let options = BrokerOptions::embedded()
        .set("auth.mode", "jwt")
        .set("auth.jwt.algorithm", "EdDSA")
        .set("auth.jwt.jwks_url", "http://127.0.0.1:1/jwks");
    let broker = Broker::start_ready(options).await;
    expect(&broker, "tidings_jwks_urls_without_keys", 1.0).await;
    expect(&broker, "tidings_jwks_keys", 0.0).await;
    let log = broker.logged("cannot fetch the keys for tokens").await;
    assert!(log.contains("none are known") && !log.contains("stay in use"), "{log}");
    let without = Broker::start_ready(BrokerOptions::embedded()).await;
    assert_eq!(without.metric("tidings_jwks_urls_without_keys").await, Some(0.0));
}

#[tokio::test]
async fn reload_that_fails_shows_until_one_succeeds() {
    let directory = Directory::new();
    let (settings, secret) = (directory.write("tidings.toml", ""), directory.write("secret", SECRET));
    let options = BrokerOptions::embedded()
        .argument("--config")
        .argument(settings.to_str().unwrap())
        .set("auth.mode", "jwt")
        .set("auth.jwt.algorithm", "HS256")
        .set("auth.jwt.secret_file", secret.display());
    let broker = Broker::start_ready(options).await;
    let (config, keys) =
        ("tidings_config_last_reload_successful", "tidings_key_files_last_reload_successful");
    for metric in [config, keys] {
        assert_eq!(broker.metric(metric).await, Some(1.0), "{metric}");
    }
    let at = "tidings_config_last_reload_success_timestamp_seconds";
    assert!(broker.metric(at).await.unwrap() > 1.7e9);

    directory.write("tidings.toml", "[limits]\nconnections = \"many\"\n");
    broker.signal(Signal::SIGHUP);
    expect(&broker, config, 0.0).await;
    assert_eq!(broker.metric(keys).await, Some(1.0));
    directory.write("tidings.toml", "");
    directory.write("secret", "short");
    broker.signal(Signal::SIGHUP);
    expect(&broker, keys, 0.0).await;
    expect(&broker, config, 1.0).await;
    directory.write("secret", SECRET);
    broker.signal(Signal::SIGHUP);
    expect(&broker, keys, 1.0).await;
}

#[tokio::test]
async fn rejected_request_counts_by_request_and_reason() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let series = |request: &str, reason: &str| {
        format!("tidings_rejected_requests_total{{request=\"{request}\",reason=\"{reason}\"}}")
    };
    let big = "x".repeat(2 * 1024 * 1024);
    for (method, target, header, body, status, request, reason) in [
        ("GET", "/api/workspaces/a%20b/events", ("x-a", "1"), "", 400, "stream", "bad-workspace"),
        ("GET", EVENTS, ("accept", "image/png"), "", 406, "stream", "not-acceptable"),
        ("POST", EVENTS, ("origin", "https://evil.example"), "1", 403, "publication", "origin-not-allowed"),
        ("POST", EVENTS, ("x-a", "1"), &*big, 413, "publication", "event-too-large"),
        ("GET", EVENTS, ("host", "evil.example"), "", 421, "any", "unknown-host"),
    ] {
        let series = series(request, reason);
        assert_eq!(broker.metric(&series).await, Some(0.0), "{series} exists from the start");
        let response = http::request(broker.address(), method, target, &[header], body.to_owned()).await;
        assert_eq!(response.status.as_u16(), status, "{}", response.text());
        assert_eq!(broker.metric(&series).await, Some(1.0), "{series}");
    }
}

#[tokio::test]
async fn stream_that_redis_does_not_confirm_counts() {
    let users = vec!["broker on >secret ~* resetchannels &other:* +@all".to_owned()];
    let redis = RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await;
    let options = BrokerOptions::embedded().set("redis.url", redis.url_as("broker", "secret"));
    let broker = Broker::start(options).await;
    broker.logged("linked to Redis").await;
    let response = http::get(broker.address(), &format!("{EVENTS}?errors=http")).await;
    assert_eq!(response.status, 503);
    assert_eq!(broker.metric("tidings_streams_unconfirmed_total").await, Some(1.0));
    expect(&broker, "tidings_bus_refused_workspaces", 1.0).await;
}

#[tokio::test]
async fn ended_stream_counts_by_its_reason() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let left = "tidings_ended_streams_total{why=\"client left\"}";
    assert_eq!(broker.metric(left).await, Some(0.0));
    assert_eq!(broker.metric("tidings_ended_streams_total{why=\"takes no bytes\"}").await, Some(0.0));
    let mut client = broker.connect("acme").await;
    client.connected().await;
    drop(client);
    expect(&broker, left, 1.0).await;
}

#[tokio::test]
async fn drain_shows_in_the_metrics() {
    let options = BrokerOptions::embedded().set("server.drain_delay_seconds", 60);
    let broker = Broker::start_ready(options).await;
    assert_eq!(broker.metric("tidings_draining").await, Some(0.0));
    broker.signal(Signal::SIGTERM);
    expect(&broker, "tidings_draining", 1.0).await;
}

#[tokio::test]
async fn too_few_files_show_as_fewer_connections_than_configured() {
    let broker = Broker::start_ready(BrokerOptions::embedded().open_files(800, 800)).await;
    let connections = broker.metric("tidings_connections_max").await.unwrap();
    let configured = broker.metric("tidings_connections_configured").await.unwrap();
    assert!(connections < 800.0 && configured > connections, "{connections} of {configured}");
}

#[tokio::test]
async fn body_in_memory_shows_until_it_is_published() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    assert!(broker.metric("tidings_body_max_bytes").await.unwrap() > 0.0);
    let mut stream = tokio::net::TcpStream::connect(broker.address()).await.unwrap();
    let head =
        format!("POST {EVENTS} HTTP/1.1\r\nhost: {}\r\ncontent-length: 2048\r\n\r\n", broker.address());
    stream.write_all(head.as_bytes()).await.unwrap();
    expect(&broker, "tidings_body_bytes", 4096.0).await;
    stream.write_all("x".repeat(2048).as_bytes()).await.unwrap();
    expect(&broker, "tidings_body_bytes", 0.0).await;
}

#[tokio::test]
async fn status_counts_refusals_and_denials() {
    let broker =
        Broker::start_ready(BrokerOptions::embedded().set("limits.connections_per_workspace", 1)).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    let response = http::get(broker.address(), &format!("{EVENTS}?errors=http")).await;
    assert_eq!(response.status, 503);
    let counters = broker.status().await["counters"].clone();
    assert_eq!(counters["refusals"]["connections-per-workspace"], 1, "{counters}");
    assert_eq!(counters["refusals"]["ring-bytes"], 0, "{counters}");
    assert_eq!(counters["denials"]["signature"], 0, "{counters}");
}
