//! The list of nodes.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{ask, document, fleet, freeze, id, of_node, run};
use crate::support::commands::run_tidings;
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, eventually};

#[tokio::test]
async fn nodes_are_listed_until_they_stop() {
    let server = RedisServer::start().await;
    let [mut one, other] = fleet(&server, &[("admin.url", "https://console.internal")]).await;
    let (first, second) = (id(&one).await, id(&other).await);
    let mut client = other.connect("acme").await;
    client.connected().await;
    let response = ask(&one, "GET", "/api/console/nodes", "").await;
    let list = response.json();
    assert_eq!(
        (list["here"].as_str(), list["nodes"].as_array().unwrap().len()),
        (Some(&*first), 2),
        "{list}"
    );
    let node = of_node(&list, &second);
    assert_eq!((node["ready"].as_bool(), node["subscribers"].as_u64()), (Some(true), Some(1)), "{node}");
    assert_eq!(node["url"], "https://console.internal");
    let table = run(&server, &["nodes"]).await.success();
    assert!(table.contains(&first) && table.contains(&second) && table.contains("ready"), "{table}");

    assert_eq!(one.terminate(DEADLINE).await, Some(0));
    let list = document(&server, &["nodes"]).await;
    assert_eq!(list["nodes"].as_array().unwrap().len(), 1, "it has removed itself: {list}");
    assert_eq!(list["nodes"][0]["node"], *second);
}

/// The reply takes a second and no longer, whatever a node does.
#[tokio::test]
async fn stopped_node_is_named_within_a_second() {
    let server = RedisServer::start().await;
    let [one, other, stopped] = fleet(&server, &[]).await;
    let (silent, others) = (id(&stopped).await, [id(&one).await, id(&other).await]);
    freeze(&stopped).await;
    let began = Instant::now();
    let response = ask(&one, "GET", "/api/console/nodes", "").await;
    let time = began.elapsed();
    stopped.signal(Signal::SIGCONT);
    let list = response.json();
    assert_eq!(list["silent"], serde_json::json!([silent]), "{list}");
    assert!(others.iter().all(|id| of_node(&list, id)["ready"] == true), "{list}");
    assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&time), "{time:?}");

    eventually("it replies again", DEADLINE, async || {
        ask(&one, "GET", "/api/console/nodes", "").await.json()["silent"] == serde_json::json!([])
    })
    .await;
}

#[tokio::test]
async fn killed_node_leaves_the_list_when_its_announcement_expires() {
    let server = RedisServer::start().await;
    let [one, mut killed] = fleet(&server, &[]).await;
    let id = id(&killed).await;
    killed.kill();
    let failed = run(&server, &["nodes"]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stdout.contains(&format!("{id} ")) && failed.stdout.contains("no reply"), "{failed:?}");
    eventually("it is gone", DEADLINE, async || {
        ask(&one, "GET", "/api/console/nodes", "").await.json()["nodes"].as_array().unwrap().len() == 1
    })
    .await;
    // By now the first announcement of the other node has expired too.
    let list = document(&server, &["nodes"]).await;
    assert_eq!(list["nodes"].as_array().unwrap().len(), 1, "it has announced itself again: {list}");
}

/// Without a Redis, a node replies about itself, and the command reaches it over its embedded bus.
#[tokio::test]
async fn embedded_bus_has_one_node() {
    let broker = Broker::start_ready(BrokerOptions::embedded().set("admin.token", super::TOKEN)).await;
    let list = ask(&broker, "GET", "/api/console/nodes", "").await.json();
    assert_eq!(
        (list["nodes"][0]["node"].as_str(), list["silent"].as_array().unwrap().len()),
        (Some(&*id(&broker).await), 0)
    );
    let address = broker.embedded().to_string();
    let list = run_tidings(&["nodes"], &[("embedded.listen", &address)]).await.success();
    assert!(list.contains(&id(&broker).await), "{list}");
}

#[tokio::test]
async fn node_without_redis_replies_about_itself() {
    let mut server = RedisServer::start().await;
    let [one] = fleet(&server, &[]).await;
    server.stop();
    let list = ask(&one, "GET", "/api/console/nodes", "").await.json();
    assert_eq!(list["nodes"][0]["node"], *id(&one).await, "{list}");
    assert!(list["error"].as_str().is_some(), "{list}");
    let failed = run(&server, &["nodes"]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
}
