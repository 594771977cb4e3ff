//! The server accepts the broker and refuses its commands.

use super::{Audience, RECOVERY, check_asked_to_come_back, tool};
use crate::support::commands::run_tidings;
use crate::support::{
    Broker, BrokerOptions, Connect, DEADLINE, EventSource, RedisOptions, RedisServer, eventually, http,
};

/// A server with a user `broker` that may do everything, but on the given channels only.
async fn server_with_channels(channels: &str) -> RedisServer {
    let users = vec![format!("broker on >secret ~* resetchannels {channels} +@all")];
    RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await
}

async fn broker_of(server: &RedisServer) -> Broker {
    let options = BrokerOptions::embedded()
        .set("redis.url", server.url_as("broker", "secret"))
        .set("redis.probe_seconds", 0.3)
        .set("sse.retry_ms", 200);
    Broker::start(options).await
}

async fn set_user(server: &RedisServer, rules: &[&str]) {
    server.command::<String>(&[&["ACL", "SETUSER", "broker"], rules].concat()).await;
}

#[tokio::test]
async fn missing_channel_right_is_named_and_works_once_given() {
    let server = server_with_channels("").await;
    let broker = broker_of(&server).await;
    let mut source = EventSource::open(broker.address(), "acme", Connect::default());
    let mut client = broker.connect("acme").await;
    check_asked_to_come_back(&mut client, "unavailable").await;
    assert!(!client.events().iter().any(|event| event.is_connected()));

    // A tool gets a status; it need not wait for that until the time for confirming is over.
    let response = http::request(broker.address(), "GET", "/api/workspaces/acme/events", &[], "").await;
    assert_eq!((response.status.as_u16(), response.header("retry-after")), (503, "1"));

    let log = broker.logged("&workspace:*").await;
    assert!(log.lines().any(|line| line.contains("NOPERM") && line.contains("&workspace:*")), "{log}");
    let bus = broker.status().await["bus"].clone();
    assert!(bus["subscriptionRefused"].as_str().unwrap().contains("NOPERM"), "{bus}");
    assert!(bus["refusedReason"].as_str().unwrap().contains("NOPERM"), "{bus}");
    assert_eq!(bus["refusedWorkspaces"], 1);
    let ready = http::get(broker.admin(), "/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("NOPERM"), "{}", ready.text());

    let url = server.url_as("broker", "secret");
    let check = run_tidings(&["check"], &[("redis.url", &url)]).await;
    assert_eq!(check.code, Some(1));
    assert!(check.stdout.contains("NOPERM") && check.stdout.contains("'&workspace:*'"), "{}", check.stdout);

    // An administrator applies the printed rule, without a restart.
    set_user(&server, &["&workspace:*", "&tidings:control"]).await;
    source.connected().await;
    server.publish("workspace:acme", "heard").await;
    source.wait_for(DEADLINE, |event| event.data == "heard").await;
    assert_eq!(source.closed(), None);
    broker.ready().await;
    assert_eq!(broker.status().await["bus"]["refusedWorkspaces"], 0);
    let check = run_tidings(&["check"], &[("redis.url", &url)]).await;
    check.success();
}

#[tokio::test]
async fn node_without_a_right_to_subscribe_is_not_ready() {
    let server = server_with_channels("").await;
    let broker = broker_of(&server).await;
    eventually("the reason is known", DEADLINE, async || {
        http::get(broker.admin(), "/ready").await.text().contains("NOPERM")
    })
    .await;
    // It is in the log too, before the first client finds out.
    broker.logged("NOPERM").await;
    assert_eq!(broker.log().matches("rejects a subscription").count(), 1, "{}", broker.log());
    set_user(&server, &["&workspace:*"]).await;
    broker.ready().await;
    assert_eq!(broker.status().await["bus"]["subscriptionRefused"], serde_json::Value::Null);
}

#[tokio::test]
async fn rights_for_some_workspaces_are_enough_for_these() {
    let server = server_with_channels("&workspace:workspace-0 &workspace:workspace-1").await;
    let broker = broker_of(&server).await;
    let mut audience = Audience::gather(&broker, 2).await;
    let mut refused = broker.connect("acme").await;
    check_asked_to_come_back(&mut refused, "unavailable").await;
    audience.check_hearing(&server, "undisturbed").await;

    // Also when all of them are subscribed to again in one command.
    let mut other = broker.connect("acme").await;
    server.kill_subscribers().await;
    audience.check_reset_and_receiving(&server, "after").await;
    check_asked_to_come_back(&mut other, "unavailable").await;
}

#[tokio::test]
async fn rights_that_are_taken_away_are_noticed_at_once() {
    let server = server_with_channels("&workspace:*").await;
    let broker = broker_of(&server).await;
    broker.ready().await;
    let mut audience = Audience::gather(&broker, 2).await;
    let mut source = EventSource::open(broker.address(), "workspace-0", Connect::default());
    source.connected().await;

    set_user(&server, &["resetchannels", "&workspace:workspace-1"]).await;
    let (mut refused, kept): (Vec<_>, Vec<_>) =
        std::mem::take(&mut audience.0).into_iter().partition(|(workspace, _)| workspace == "workspace-0");
    for (_, client) in &mut refused {
        check_asked_to_come_back(client, "unavailable").await;
    }
    let mut kept = Audience(kept);
    kept.check_reset_and_receiving(&server, "still allowed").await;

    set_user(&server, &["&workspace:*"]).await;
    eventually("the source is greeted again", RECOVERY, async || {
        source.events().iter().filter(|event| event.is_connected()).count() >= 2
    })
    .await;
    server.publish("workspace:workspace-0", "allowed again").await;
    source.wait_for(RECOVERY, |event| event.data == "allowed again").await;
    // The client may have missed events of the time without the right, and it got a reset.
    assert!(source.events().iter().any(|event| event.kind == "tidings.reset"));
    assert_eq!(source.closed(), None);
    kept.check_hearing(&server, "undisturbed").await;
}

#[tokio::test]
async fn right_to_subscribe_is_enough_for_streams() {
    let users = vec!["broker on >secret ~* &workspace:* -@all +subscribe +unsubscribe +ping".to_owned()];
    let server = RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await;
    let broker = broker_of(&server).await;
    let mut audience = Audience::gather(&broker, 1).await;
    audience.check_hearing(&server, "heard").await;
    broker.ready().await;
    assert!(broker.status().await["bus"]["probeRefused"].as_str().unwrap().contains("NOPERM"));
    let response =
        http::request(broker.address(), "POST", "/api/workspaces/workspace-0/events", &[], "x").await;
    assert_eq!(response.status, 502);
    assert!(response.text().contains("NOPERM"), "{}", response.text());
}

#[tokio::test]
async fn tool_gets_a_status() {
    let server = server_with_channels("").await;
    let broker = broker_of(&server).await;
    for options in [tool(), Connect::query("errors=http")] {
        let client = broker.connect_with("acme", options).await;
        assert_eq!(client.status(), 503);
        assert_eq!(client.header("content-type"), "application/problem+json");
        assert_eq!(client.header("retry-after"), "1");
    }
}

/// The rule of an earlier version has no right to the keys beside logs. Publishing and reading
/// continue, with a reset for each doubt.
#[tokio::test]
async fn user_without_rights_beside_logs_publishes_with_a_warning() {
    let users = vec!["broker on >secret ~workspace:* &* +@all".to_owned()];
    let server = RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await;
    let (first, second) = (broker_of(&server).await, broker_of(&server).await);
    let mut client = first.connect("acme").await;
    client.connected().await;
    let id = first.publish("acme", "1").await;
    assert_eq!(client.application_event().await.id, id);
    first.publish("acme", "2").await;
    let mut back = second.connect_with("acme", Connect::after(&id)).await;
    assert_eq!(back.connected().await.json()["resumed"], true);
    assert_eq!(back.application_event().await.data, "2");
    assert_eq!(back.event_named("tidings.reset").await.json()["reason"], "live-events");

    let url = server.url_as("broker", "secret");
    let check = run_tidings(&["check"], &[("redis.url", &url)]).await;
    assert_eq!(check.code, Some(1));
    for what in ["keeping the epochs of logs", "marking live events"] {
        let line = check.stdout.lines().find(|line| line.contains(what)).unwrap_or_default();
        assert!(line.contains("FAIL"), "{}", check.stdout);
    }
    assert!(check.stdout.contains("'~{workspace:*'"), "{}", check.stdout);
    assert!(first.logged("the mark of live events").await.contains("tidings check"), "{}", first.log());
}
