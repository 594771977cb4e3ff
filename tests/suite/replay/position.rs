//! `GET …/position` and `GET …/access`: the questions of a client before it streams.

use hyper::StatusCode;
use serde_json::json;

use super::{broker_on, read};
use crate::support::test_cluster::on_both_buses;
use crate::support::token::{JWT, bearer, token};
use crate::support::{Broker, Bus, Connect, DEADLINE, RedisServer, TestCluster, eventually, http};

on_both_buses!(
    client_misses_no_event_between_position_and_stream,
    questions_get_the_denials_of_a_stream,
    question_spends_no_ticket,
);

async fn position(broker: &Broker) -> String {
    let response = http::get(broker.address(), "/api/workspaces/acme/position").await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("cache-control"), "no-store");
    response.json()["position"].as_str().expect("a position").to_owned()
}

/// Also for a workspace that has no event yet.
async fn client_misses_no_event_between_position_and_stream(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let broker = &cluster.broker;
    broker.ready().await;
    let first = position(broker).await;
    let id = broker.publish("acme", "one").await;
    let second = position(broker).await;
    assert_eq!(second, id);
    broker.publish("acme", "two").await;
    for (from, missed) in [(&first, vec!["one", "two"]), (&second, vec!["two"])] {
        let mut client = broker.connect_with("acme", Connect::after(from)).await;
        assert_eq!(client.connected().await.json()["resumed"], true, "{from}");
        assert_eq!(read(&mut client, missed.len()).await, missed);
    }
}

#[tokio::test]
async fn position_is_valid_on_every_node() {
    let server = RedisServer::start().await;
    let (one, two) = (broker_on(&server).await, broker_on(&server).await);
    let start = position(&one).await;
    assert_eq!(position(&two).await, start, "the next log has one epoch");
    one.publish("acme", "one").await;
    let mut client = two.connect_with("acme", Connect::after(&start)).await;
    assert_eq!(client.connected().await.json()["resumed"], true);
    assert_eq!(read(&mut client, 1).await, ["one"]);
}

#[tokio::test]
async fn position_of_a_log_that_ended_is_unproven() {
    let server = RedisServer::start().await;
    let broker = broker_on(&server).await;
    let start = position(&broker).await;
    broker.publish("acme", "one").await;
    server.command::<u64>(&["DEL", "workspace:acme"]).await;
    broker.publish("acme", "two").await;
    let mut client = broker.connect_with("acme", Connect::after(&start)).await;
    assert_eq!(client.connected().await.json()["resumed"], false);
    let reset = client.event_named("tidings.reset").await;
    assert_eq!(reset.json()["from"], start.as_str());
}

#[tokio::test]
async fn position_is_unavailable_without_the_bus() {
    let mut server = RedisServer::start().await;
    let broker = broker_on(&server).await;
    server.stop();
    eventually("a read fails", DEADLINE, async || {
        let response = http::get(broker.address(), "/api/workspaces/acme/position").await;
        assert_eq!(response.status, 503, "{}", response.text());
        assert_ne!(response.header("retry-after"), "");
        response.text().contains("cannot be reached")
    })
    .await;
    let response = http::get(broker.address(), "/api/workspaces/acme/access").await;
    assert_eq!(response.status, 204, "the right does not depend on the bus");
}

async fn questions_get_the_denials_of_a_stream(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &JWT).await;
    cluster.broker.ready().await;
    let address = cluster.broker.address();
    let good = bearer(&token("ann", &["acme"], 60, &json!({})));
    let other = bearer(&token("ann", &["other"], 60, &json!({})));
    for (question, granted) in [("access", 204), ("position", 200)] {
        let target = format!("/api/workspaces/acme/{question}");
        let ask = async |method, authorization: &str| {
            let headers = [("Authorization", authorization)];
            http::request(address, method, &target, &headers, "").await
        };
        assert_eq!(ask("GET", &good).await.status, granted);
        let head = ask("HEAD", &good).await;
        assert!(head.status == granted && head.body.is_empty(), "{}", head.text());
        let forbidden = ask("GET", &other).await;
        assert_eq!(forbidden.status, 403);
        assert_eq!(forbidden.header("content-type"), "application/problem+json");
        assert_eq!(forbidden.json()["check"], "subscribe");
        assert_eq!(http::get(address, &target).await.status, 401);
        let wrong = ask("POST", &good).await;
        assert_eq!(
            (wrong.status, wrong.header("allow")),
            (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, OPTIONS")
        );
        assert_eq!(http::get(address, &target.replace("acme", "a%20b")).await.status, 400);
        assert_eq!(http::get(address, &format!("{target}/")).await.status, 404);
    }
    let refused = http::get(address, "/api/workspaces/acme/access?last=0").await;
    assert_eq!(refused.status, 400, "the query of a stream is checked too");
}

async fn question_spends_no_ticket(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &JWT).await;
    cluster.broker.ready().await;
    let address = cluster.broker.address();
    let authorization = bearer(&token("ann", &["acme"], 60, &json!({})));
    let body = json!({ "workspace": "acme" }).to_string();
    let issued =
        http::request(address, "POST", "/api/tickets", &[("Authorization", &authorization)], body).await;
    let ticket = issued.json()["ticket"].as_str().unwrap().to_owned();
    for question in ["access", "position", "access"] {
        let target = format!("/api/workspaces/acme/{question}?ticket={ticket}");
        assert!(http::get(address, &target).await.status.is_success(), "{question}");
    }
    let mut client = cluster.broker.connect_with("acme", Connect::query(&format!("ticket={ticket}"))).await;
    client.connected().await;
}
