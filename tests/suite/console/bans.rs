//! The list of bans.

use serde_json::json;

use super::{TOKEN, ask, options, read};
use crate::support::redis_server::RedisServer;
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually, eventually_some};

/// The ban of a user, sent by a node.
async fn ban(broker: &Broker, seconds: u32) {
    let body = json!({ "disconnect": { "user": "ann", "workspace": "acme", "for": seconds } });
    let response = ask(broker, "POST", "/api/console/disconnect", &body.to_string()).await;
    assert_eq!(response.status, 202, "{:?}", response.body);
}

#[tokio::test]
async fn bans_of_all_nodes_are_listed_with_their_ends() {
    let server = RedisServer::start().await;
    let start = || Broker::start_ready(BrokerOptions::redis(&server).set("admin.token", TOKEN));
    let (one, other) = tokio::join!(start(), start());
    assert_eq!(read(&other, "/api/console/bans").await, json!({ "count": 0, "bans": [] }));
    ban(&one, 3600).await;
    let listed = eventually_some("the other node lists it", DEADLINE, async || {
        Some(read(&other, "/api/console/bans").await).filter(|list| list["count"] == 1)
    })
    .await;
    let row = &listed["bans"][0];
    assert_eq!((&row["user"], &row["workspace"], &row["jti"]), (&json!("ann"), &json!("acme"), &json!(null)));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let left = u128::from(row["untilMs"].as_u64().unwrap()) - now;
    assert!((3_500_000..=3_600_000).contains(&left), "{left} ms");
}

#[tokio::test]
async fn bans_of_the_embedded_bus_are_listed_until_they_end() {
    let broker = Broker::start_ready(options()).await;
    ban(&broker, 1).await;
    let count = async || read(&broker, "/api/console/bans").await["count"].as_u64().unwrap();
    eventually("the ban is listed", DEADLINE, async || count().await == 1).await;
    eventually("it has ended", DEADLINE, async || count().await == 0).await;
}

/// The list would be wrong without the bus.
#[tokio::test]
async fn lost_bus_makes_the_list_unavailable() {
    let mut server = RedisServer::start().await;
    let options = BrokerOptions::redis(&server).set("admin.token", TOKEN);
    let broker = Broker::start_ready(options.set("redis.command_timeout_seconds", 1)).await;
    server.stop();
    let response = ask(&broker, "GET", "/api/console/bans", "").await;
    assert_eq!(response.status, 503, "{:?}", response.body);
}
