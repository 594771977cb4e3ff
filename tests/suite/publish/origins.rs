//! Publishing from pages: a browser sends such requests without asking first.

use super::EVENTS;
use crate::support::http::{self, Response};
use crate::support::test_cluster::on_both_buses;
use crate::support::{Bus, DEADLINE, TestCluster};

on_both_buses!(
    pages_of_other_origins_cannot_publish,
    pages_of_configured_origins_can_publish,
    every_origin_is_not_every_origin_with_cookies,
);

async fn post(cluster: &TestCluster, origin: &str, body: &'static str) -> Response {
    http::request(cluster.broker.address(), "POST", EVENTS, &[("Origin", origin)], body).await
}

async fn pages_of_other_origins_cannot_publish(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let address = cluster.broker.address();
    let origins = [
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        &format!("http://{address}.evil.example"),
        &format!("http://localhost:{}", address.port()),
    ];
    for origin in origins {
        let response = post(&cluster, origin, "forged").await;
        assert_eq!(response.status, 403, "{origin}");
        assert_eq!(response.header("content-type"), "application/problem+json");
        assert_eq!(response.json()["type"], "urn:tidings:problem:origin-not-allowed");
        assert!(response.text().contains("cors.origins"), "{}", response.text());
    }
    // The broker's own origin, as when a proxy puts page and broker under one address.
    let response = post(&cluster, &format!("http://{address}"), "own").await;
    assert_eq!(response.status, 200);
    assert_eq!(client.next_event(DEADLINE).await.data, "own");
}

async fn pages_of_configured_origins_can_publish(bus: Bus) {
    let cluster =
        TestCluster::start_with(bus, &[("cors.origins", "https://app.example, https://b.example")]).await;
    for origin in ["https://app.example", "https://b.example"] {
        let response = post(&cluster, origin, "allowed").await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("access-control-allow-origin"), origin);
        assert_eq!(response.header("access-control-allow-credentials"), "true");
        assert_eq!(response.header("vary"), "Origin");
    }
    let response = post(&cluster, "https://c.example", "forged").await;
    assert_eq!(response.status, 403);
    assert!(!response.headers.contains_key("access-control-allow-origin"));
    assert_eq!(response.header("vary"), "Origin");
}

async fn every_origin_is_not_every_origin_with_cookies(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("cors.origins", "*")]).await;
    assert_eq!(post(&cluster, "https://c.example", "allowed").await.status, 200);
    let address = cluster.broker.address();
    let with_cookie = [("Origin", "https://c.example"), ("Cookie", "session=1")];
    let response = http::request(address, "POST", EVENTS, &with_cookie, "forged").await;
    assert_eq!(response.status, 403);
    assert_eq!(response.json()["type"], "urn:tidings:problem:origin-not-allowed");
    let own = [("Origin", &*format!("http://{address}")), ("Cookie", "session=1")];
    assert_eq!(http::request(address, "POST", EVENTS, &own, "own").await.status, 200);
}
