//! Tickets: random values for addresses.

use serde_json::{Value, json};

use super::control::order;
use crate::support::http::{self, Response};
use crate::support::ledger::SCRIPT;
use crate::support::sse::Connect;
use crate::support::test_cluster::on_both_buses;
use crate::support::token::{JWT, bearer, token};
use crate::support::{
    Broker, BrokerOptions, Bus, DEADLINE, EventSource, RedisOptions, RedisServer, TestCluster, eventually,
};

on_both_buses!(
    a_ticket_opens_one_stream_of_its_workspace,
    ticket_needs_the_right_to_read,
    expired_ticket_is_rejected,
    stream_of_a_ticket_ends_with_its_user_and_token,
    head_spends_neither_a_ticket_nor_a_place,
    ticket_survives_a_rejection_by_a_limit,
    one_user_takes_no_more_tickets_than_its_share,
);

async fn ask(broker: &Broker, headers: &[(&str, &str)], body: Value) -> Response {
    http::request(broker.address(), "POST", "/api/tickets", headers, body.to_string()).await
}

async fn issue(broker: &Broker, token: &str) -> String {
    let authorization = bearer(token);
    let answer = ask(broker, &[("Authorization", &authorization)], json!({ "workspace": "acme" })).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

async fn check(broker: &Broker, workspace: &str, ticket: &str) -> (u16, Value) {
    let target = format!("/api/workspaces/{workspace}/events?ticket={ticket}&errors=http");
    let answer = http::get(broker.address(), &target).await;
    (answer.status.as_u16(), answer.json()["check"].clone())
}

/// A ticket opens one stream, of its workspace, within its time.
async fn a_ticket_opens_one_stream_of_its_workspace(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &JWT).await;
    let good = token("ann", &["acme", "other"], 60, &json!({}));
    let ticket = issue(&cluster.broker, &good).await;
    let mut client = cluster.broker.connect_with("acme", Connect::query(&format!("ticket={ticket}"))).await;
    client.connected().await;
    assert_eq!(check(&cluster.broker, "acme", &ticket).await, (401, json!("ticket")), "it was used");
    cluster.publish_live("acme", "x").await;
    assert_eq!(client.application_event().await.data, "x");

    let ticket = issue(&cluster.broker, &good).await;
    assert_eq!(
        check(&cluster.broker, "other", &ticket).await,
        (403, json!("ticket")),
        "it is for one workspace"
    );
    assert_eq!(
        check(&cluster.broker, "acme", &ticket).await,
        (401, json!("ticket")),
        "it was used up by that"
    );
    for wrong in ["", "x", &"0".repeat(64)] {
        assert_eq!(check(&cluster.broker, "acme", wrong).await, (401, json!("ticket")), "{wrong}");
    }
    assert!(!cluster.broker.log().contains(&ticket), "{}", cluster.broker.log());
}

async fn head_spends_neither_a_ticket_nor_a_place(bus: Bus) {
    let settings = [&JWT[..], &[("limits.connections_per_user", "1")]].concat();
    let cluster = TestCluster::start_with(bus, &settings).await;
    let ticket = issue(&cluster.broker, &token("ann", &["acme", "other"], 60, &json!({}))).await;
    let inspect = async |workspace: &str, ticket: &str| {
        let target = format!("/api/workspaces/{workspace}/events?ticket={ticket}&errors=http");
        http::request(cluster.broker.address(), "HEAD", &target, &[], "").await.status.as_u16()
    };
    for _ in 0..3 {
        assert_eq!(inspect("acme", &ticket).await, 200);
        assert_eq!(inspect("other", &ticket).await, 403, "it is for one workspace");
        assert_eq!(inspect("acme", &"0".repeat(64)).await, 401);
    }
    let mut client = cluster.broker.connect_with("acme", Connect::query(&format!("ticket={ticket}"))).await;
    client.connected().await;
    assert_eq!(inspect("acme", &ticket).await, 401, "it was used");
    // The one place of this user is taken, and HEAD needs none.
    let authorization = bearer(&token("ann", &["acme"], 60, &json!({})));
    let headers = [("Authorization", authorization.as_str())];
    let target = "/api/workspaces/acme/events";
    assert_eq!(http::request(cluster.broker.address(), "HEAD", target, &headers, "").await.status, 200);
    assert_eq!(http::request(cluster.broker.address(), "GET", target, &headers, "").await.status, 503);
}

async fn one_user_takes_no_more_tickets_than_its_share(bus: Bus) {
    // No ticket expires within the test.
    let settings = [&JWT[..], &[("auth.tickets_per_user", "3"), ("auth.ticket_seconds", "3000")]].concat();
    let cluster = TestCluster::start_with(bus, &settings).await;
    let ann = |jti: &str| token("ann", &["acme", "other"], 60, &json!({ "jti": jti }));
    let tickets = [issue(&cluster.broker, &ann("1")).await, issue(&cluster.broker, &ann("2")).await];
    issue(&cluster.broker, &ann("3")).await;
    for workspace in ["acme", "other"] {
        let authorization = bearer(&ann("4"));
        let headers = [("Authorization", authorization.as_str())];
        let refused = ask(&cluster.broker, &headers, json!({ "workspace": workspace })).await;
        assert_eq!(refused.status, 429, "{}", refused.text());
        assert!(refused.text().contains("auth.tickets_per_user"), "{}", refused.text());
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((900..=1500).contains(&wait), "{wait}");
    }
    issue(&cluster.broker, &token("bob", &["acme"], 60, &json!({}))).await;
    for ticket in tickets {
        let query = format!("ticket={ticket}");
        cluster.broker.connect_with("acme", Connect::query(&query)).await.connected().await;
    }
}

async fn ticket_needs_the_right_to_read(bus: Bus) {
    let settings = [&JWT[..], &[("auth.jwt.cookie", "live")]].concat();
    let cluster = TestCluster::start_with(bus, &settings).await;
    let wish = || json!({ "workspace": "acme" });
    assert_eq!(ask(&cluster.broker, &[], wish()).await.status, 401);
    let elsewhere = bearer(&token("ann", &["other"], 60, &json!({})));
    assert_eq!(ask(&cluster.broker, &[("Authorization", &elsewhere)], wish()).await.status, 403);
    let cookie = format!("live={}", token("ann", &["acme"], 60, &json!({})));
    assert_eq!(ask(&cluster.broker, &[("Cookie", &cookie)], wish()).await.status, 201);
    let foreign = [("Cookie", &*cookie), ("Origin", "https://evil.example")];
    assert_eq!(ask(&cluster.broker, &foreign, wish()).await.status, 403, "a page elsewhere gets none");
    for bad in [json!({}), json!({ "workspace": "a b" }), json!({ "workspace": "acme", "user": "x" })] {
        assert_eq!(ask(&cluster.broker, &[("Cookie", &cookie)], bad).await.status, 400);
    }
}

async fn expired_ticket_is_rejected(bus: Bus) {
    let settings = [&JWT[..], &[("auth.ticket_seconds", "0.2")]].concat();
    let cluster = TestCluster::start_with(bus, &settings).await;
    let ticket = issue(&cluster.broker, &token("ann", &["acme"], 60, &json!({}))).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(check(&cluster.broker, "acme", &ticket).await, (401, json!("ticket")));
}

async fn stream_of_a_ticket_ends_with_its_user_and_token(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &JWT).await;
    cluster.broker.ready().await;
    let ticket = issue(&cluster.broker, &token("ann", &["acme"], 60, &json!({ "jti": "t1" }))).await;
    let mut kicked = cluster.broker.connect_with("acme", Connect::query(&format!("ticket={ticket}"))).await;
    kicked.connected().await;
    order(&cluster, json!({ "disconnect": { "jti": "t1", "user": "ann" } })).await;
    assert_eq!(kicked.event_named("tidings.reconnect").await.json()["reason"], "disconnected");

    let ticket = issue(&cluster.broker, &token("ann", &["acme"], 4, &json!({ "jti": "t2" }))).await;
    let mut expiring = cluster.broker.connect_with("acme", Connect::query(&format!("ticket={ticket}"))).await;
    expiring.connected().await;
    assert_eq!(expiring.event_named("tidings.reconnect").await.json()["reason"], "expired");
}

#[tokio::test]
async fn a_ticket_is_good_on_any_node() {
    let server = RedisServer::start().await;
    let options =
        || JWT.iter().fold(BrokerOptions::redis(&server), |options, (key, value)| options.set(key, value));
    let (here, there) = (Broker::start_ready(options()).await, Broker::start_ready(options()).await);
    let ticket = issue(&here, &token("ann", &["acme"], 60, &json!({}))).await;
    let mut client = there.connect_with("acme", Connect::query(&format!("ticket={ticket}"))).await;
    client.connected().await;
    assert_eq!(check(&here, "acme", &ticket).await, (401, json!("ticket")));
}

async fn ticket_survives_a_rejection_by_a_limit(bus: Bus) {
    let settings = [&JWT[..], &[("limits.connections_per_user", "1"), ("sse.retry_ms", "100")]].concat();
    let cluster = TestCluster::start_with(bus, &settings).await;
    let good = token("ann", &["acme"], 60, &json!({}));
    let header = Connect::default().header("Authorization", &bearer(&good));
    let mut first = cluster.broker.connect_with("acme", header).await;
    first.connected().await;
    let ticket = issue(&cluster.broker, &good).await;
    let mut source =
        EventSource::open(cluster.broker.address(), "acme", Connect::query(&format!("ticket={ticket}")));
    let told = source.wait_for(DEADLINE, |event| event.kind == "tidings.reconnect").await;
    assert_eq!(told.json()["reason"], "overloaded");
    drop(first);
    source.connected().await;
    assert_eq!(check(&cluster.broker, "acme", &ticket).await, (401, json!("ticket")), "now it was used");
}

/// A backend with the rights of the publish script can neither make a ticket nor delete a ban.
#[tokio::test]
async fn publisher_reaches_no_key_of_the_nodes() {
    let users = vec!["backend on >secret ~workspace:* ~{workspace:* &workspace:* +@all".to_owned()];
    let server = RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await;
    let options =
        JWT.iter().fold(BrokerOptions::redis(&server), |options, (key, value)| options.set(key, value));
    let broker = Broker::start_ready(options).await;
    issue(&broker, &token("ann", &["acme"], 60, &json!({}))).await;
    let ban = json!({ "disconnect": { "user": "bob", "for": 60 } }).to_string();
    assert_eq!(server.publish("tidings:control", &ban).await, 1);
    let mut keys = Vec::new();
    eventually("ticket and ban are stored", DEADLINE, async || {
        keys = server.command::<Vec<String>>(&["KEYS", "*ticket*"]).await;
        keys.extend(server.command::<Vec<String>>(&["KEYS", "*disconnects"]).await);
        keys.len() == 2
    })
    .await;
    let client = redis::Client::open(server.url_as("backend", "secret")).unwrap();
    let mut backend = crate::support::redis_server::connect(&client).await.unwrap();
    for key in &keys {
        for command in ["DEL", "GET"] {
            let refused = redis::cmd(command).arg(key).query_async::<redis::Value>(&mut backend).await;
            assert!(refused.is_err_and(|error| error.code() == Some("NOPERM")), "{command} {key}");
        }
    }
    let mut publish = redis::cmd("EVAL");
    publish.arg(SCRIPT).arg(1).arg("workspace:acme").arg("{}");
    publish.query_async::<String>(&mut backend).await.unwrap();
}
