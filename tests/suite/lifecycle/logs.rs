//! What the broker logs.

use serde_json::Value;

use crate::support::raw::RawConnection;
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, eventually, eventually_some, http};

/// The lines of a log in JSON.
fn lines(broker: &Broker) -> Vec<Value> {
    let log = broker.log();
    let parsed =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    parsed.collect()
}

pub(super) fn with_message(broker: &Broker, message: &str) -> Vec<Value> {
    lines(broker).into_iter().filter(|line| line["message"] == message).collect()
}

#[tokio::test]
async fn every_line_is_json() {
    let mut server = RedisServer::start().await;
    let options = BrokerOptions::redis(&server).set("log.format", "json").set("log.level", "debug");
    let options = options.set("server.drain_delay_seconds", 0).set("server.drain_seconds", 0);
    let mut broker = Broker::start_ready(options).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    server.publish("workspace:acme", "tidings/1 \"quotes\"\nand lines").await;
    client.event_named("tidings.reset").await;
    http::get(broker.address(), "/%22%0A").await;
    server.stop();
    eventually("it is logged", DEADLINE, async || broker.log().contains("no link to Redis")).await;
    server.restart().await;
    broker.ready().await;
    assert_eq!(broker.terminate(DEADLINE).await, Some(0));

    for line in lines(&broker) {
        let fields = line.as_object().unwrap();
        assert!(fields["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&fields["level"].as_str().unwrap()), "{line}");
        assert!(!fields["message"].as_str().unwrap().is_empty(), "{line}");
    }
    assert_eq!(with_message(&broker, "listening").len(), 1);
}

#[tokio::test]
async fn each_stream_is_one_line_at_its_end() {
    let server = RedisServer::start().await;
    let options = BrokerOptions::redis(&server).set("log.format", "json");
    let options = options.set("server.drain_delay_seconds", 0).set("server.drain_seconds", 0);
    let mut broker = Broker::start(options).await;
    let ended = "stream ended";
    let mut leaves = broker.connect("acme").await;
    leaves.connected().await;
    let mut stays = broker.connect("other").await;
    stays.connected().await;
    for text in ["one", "two"] {
        server.publish("workspace:acme", text).await;
        leaves.application_event().await;
    }
    assert!(with_message(&broker, ended).is_empty(), "nothing is said while all is well");

    let (address, bytes) = (leaves.local_address().to_string(), leaves.body_bytes());
    drop(leaves);
    eventually("the end is logged", DEADLINE, async || with_message(&broker, ended).len() == 1).await;
    let line = with_message(&broker, ended).remove(0);
    assert_eq!((&line["workspace"], &line["client.address"]), (&"acme".into(), &address.into()), "{line}");
    assert_eq!((&line["events"], &line["bytes"]), (&2.into(), &bytes.into()), "{line}");
    assert_eq!((&line["why"], &line["level"]), (&"client left".into(), &"INFO".into()), "{line}");
    assert!((0.0..60.0).contains(&line["seconds"].as_f64().unwrap()), "{line}");

    assert_eq!(broker.terminate(DEADLINE).await, Some(0));
    let lines = with_message(&broker, ended);
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[1]["workspace"], &lines[1]["why"]), (&"other".into(), &"draining".into()));
}

/// The fields of the spans around a line, the outermost first.
async fn spans(broker: &Broker, message: &str) -> Vec<Value> {
    let lines =
        || lines(broker).into_iter().find(|line| line["message"].as_str().unwrap().starts_with(message));
    let line = eventually_some("it is logged", DEADLINE, async || lines()).await;
    line["spans"].as_array().unwrap().clone()
}

#[tokio::test]
async fn line_of_a_connection_has_its_address() {
    let options = BrokerOptions::embedded().set("log.format", "json").set("log.level", "debug");
    let broker = Broker::start_ready(options).await;
    let mut connection = RawConnection::open(broker.address()).await;
    let address = connection.local_address().to_string();
    connection.send(b"no request at all\r\n\r\n").await;
    let spans = spans(&broker, "connection ended with an error").await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!((&spans[0]["name"], &spans[0]["client.address"]), (&"connection".into(), &address.into()));
}

#[tokio::test]
async fn line_about_a_new_stream_has_its_workspace() {
    // No app listens at that port.
    let options = BrokerOptions::embedded().set("log.format", "json").set("log.level", "warn");
    let options = options.set("auth.mode", "forward").set("auth.forward.url", "http://127.0.0.1:1/");
    let broker = Broker::start_ready(options).await;
    let _client = broker.connect("acme").await;
    let spans = spans(&broker, "the app gave no valid response").await;
    let names: Vec<_> = spans.iter().map(|span| &span["name"]).collect();
    assert_eq!(names, ["connection", "stream"], "{spans:?}");
    assert_eq!(spans[1]["workspace"], "acme");
}

#[tokio::test]
async fn served_requests_and_unknown_paths_are_not_logged() {
    let broker = Broker::start(BrokerOptions::embedded()).await;
    // A start writes the lines for the operator first, and this one at its end.
    broker.logged("/status\n").await;
    let before = broker.logged("embedded=\"127.0.0.1").await;
    for target in ["/nowhere", "/api/workspaces/acme/access", "/api/workspaces/acme/position"] {
        http::get(broker.address(), target).await;
    }
    http::request(broker.address(), "DELETE", "/api/tickets", &[], "").await;
    broker.publish("acme", "an event").await;
    http::get(broker.admin(), "/status").await;
    assert_eq!(broker.log(), before);
}

#[tokio::test]
async fn level_follows_the_configuration() {
    let server = RedisServer::start().await;
    let options = BrokerOptions::redis(&server).set("log.format", "json").set("log.level", "error");
    let broker = Broker::start(options).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    drop(client);
    eventually("the client is gone", DEADLINE, async || broker.status().await["connections"] == 0).await;
    assert_eq!(broker.log(), "");
}
