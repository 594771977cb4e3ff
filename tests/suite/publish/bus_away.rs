//! Publishing while Redis is away, or will not have the event.

use std::time::{Duration, Instant};

use super::EVENTS;
use crate::support::http::{self, Response};
use crate::support::{
    Broker, BrokerOptions, DEADLINE, RedisOptions, RedisServer, eventually, some_round_within,
};

async fn post(broker: &Broker) -> Response {
    http::request(broker.address(), "POST", EVENTS, &[], "x").await
}

fn check_unavailable(response: &Response) {
    assert_eq!(response.status, 503, "{}", response.text());
    assert_eq!(response.header("content-type"), "application/problem+json");
    assert_eq!(response.json()["type"], "urn:tidings:problem:unavailable");
    assert!(["2", "3"].contains(&response.header("retry-after")), "{}", response.header("retry-after"));
}

#[tokio::test]
async fn while_redis_is_away_the_answer_is_to_come_back() {
    let mut server = RedisServer::start().await;
    let broker = Broker::start(BrokerOptions::redis(&server)).await;
    assert_eq!(post(&broker).await.status, 200);
    server.stop();
    for _ in 0..2 {
        check_unavailable(&post(&broker).await);
    }
    assert_eq!(broker.status().await["counters"]["publishFailures"], 2);
    server.restart().await;
    eventually("publishing works again", DEADLINE, async || post(&broker).await.status == 200).await;
}

#[tokio::test]
async fn silent_redis_is_waited_for_as_configured() {
    let server = RedisServer::start().await;
    let broker = Broker::start(BrokerOptions::redis(&server).set("redis.command_timeout_seconds", 0.5)).await;
    assert_eq!(post(&broker).await.status, 200);
    // The default is 5 seconds.
    some_round_within("the refusal of an event", Duration::from_secs(4), async || {
        server.freeze();
        let asked = Instant::now();
        check_unavailable(&post(&broker).await);
        let took = asked.elapsed();
        assert!(took >= Duration::from_millis(500), "{took:?}");
        server.thaw();
        eventually("publishing works again", DEADLINE, async || post(&broker).await.status == 200).await;
        took
    })
    .await;
}

#[tokio::test]
async fn server_without_writes_counts_as_away() {
    // A replica without its primary, as a node meets one in the middle of a failover.
    let configuration = vec!["replicaof 127.0.0.1 1".to_owned()];
    let server = RedisServer::start_with(RedisOptions { configuration, ..RedisOptions::default() }).await;
    let broker = Broker::start(BrokerOptions::redis(&server)).await;
    check_unavailable(&post(&broker).await);
    server.command::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    assert_eq!(post(&broker).await.status, 200);
}

#[tokio::test]
async fn missing_right_is_named() {
    let users = vec!["publisher on >secret ~* &* +@all -xadd".to_owned()];
    let server = RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await;
    let url = server.url_as("publisher", "secret");
    let broker = Broker::start(BrokerOptions::embedded().set("redis.url", &url)).await;
    let response = post(&broker).await;
    assert_eq!(response.status, 502, "{}", response.text());
    assert_eq!(response.json()["type"], "urn:tidings:problem:refused-by-bus");
    assert!(response.text().contains("The user executing the script can't"), "{}", response.text());
    assert!(!response.text().contains("secret"), "{}", response.text());

    server.command::<String>(&["ACL", "SETUSER", "publisher", "+xadd", "resetkeys", "~other:*"]).await;
    let response = post(&broker).await;
    assert_eq!(response.status, 502, "{}", response.text());
    assert!(response.text().contains("NOPERM"), "{}", response.text());
}
