//! The server is missing, or rejects the broker, from the start.

use std::time::{Duration, Instant};

use super::{RECOVERY, check_asked_to_come_back, tool};
use crate::support::{
    Broker, BrokerOptions, Connect, DEADLINE, EventSource, RedisOptions, RedisServer, eventually, http,
};

async fn why_not_ready(broker: &Broker) -> String {
    let ready = http::get(broker.admin(), "/ready").await;
    assert_eq!(ready.status, 503);
    let because = ready.json()["because"].clone();
    serde_json::from_value::<Vec<String>>(because).unwrap().join("; ")
}

#[tokio::test]
async fn a_broker_starts_without_redis_and_finds_it_by_itself() {
    let mut server = RedisServer::prepare(RedisOptions::default());
    let options = BrokerOptions::redis(&server).set("redis.confirm_seconds", 1).set("sse.retry_ms", 200);
    let broker = Broker::start(options).await;
    eventually("the reason is known", DEADLINE, async || {
        why_not_ready(&broker).await.contains("Connection refused")
    })
    .await;
    let mut source = EventSource::open(broker.address(), "acme", Connect::default());

    let came = Instant::now();
    let mut client = broker.connect("acme").await;
    check_asked_to_come_back(&mut client, "unavailable").await;
    assert!(came.elapsed() >= Duration::from_secs(1), "held for {:?} only", came.elapsed());
    for options in [tool(), Connect::query("errors=http")] {
        let client = broker.connect_with("acme", options).await;
        assert_eq!((client.status().as_u16(), client.header("retry-after")), (503, "1"));
    }
    let reconnects = broker.status().await["counters"]["reconnects"]["unavailable"].as_u64().unwrap();
    assert!(reconnects >= 1);
    assert_eq!(source.events().iter().filter(|event| event.is_connected()).count(), 0);

    server.restart().await;
    source.wait_for(RECOVERY, |event| event.is_connected()).await;
    server.publish("workspace:acme", "heard").await;
    source.wait_for(DEADLINE, |event| event.data == "heard").await;
    assert_eq!(source.closed(), None);
    broker.ready().await;
}

#[tokio::test]
async fn a_held_client_is_greeted_when_redis_appears() {
    let mut server = RedisServer::prepare(RedisOptions::default());
    let options = BrokerOptions::redis(&server).set("redis.confirm_seconds", 60);
    let broker = Broker::start(options.set("redis.backoff_max_seconds", 0.5)).await;
    let mut client = broker.connect("acme").await;
    let mut returning = broker.connect_with("acme", Connect::after("1-0")).await;
    let waiting = tokio::spawn(http::exchange_head(broker.address(), "/api/workspaces/acme/events"));
    eventually("all are held", DEADLINE, async || broker.status().await["subscribers"] == 3).await;
    assert!(client.events().is_empty());

    server.restart().await;
    client.wait_for(RECOVERY, |event| event.is_connected()).await;
    returning.wait_for(RECOVERY, |event| event.kind == "tidings.reset").await;
    assert_eq!(waiting.await.unwrap(), 200);
    server.publish("workspace:acme", "heard").await;
    assert_eq!(client.application_event().await.data, "heard");
    assert_eq!(returning.application_event().await.data, "heard");
}

#[tokio::test]
async fn by_default_a_client_is_held_for_5_seconds() {
    let server = RedisServer::prepare(RedisOptions::default());
    let broker = Broker::start(BrokerOptions::redis(&server)).await;
    let came = Instant::now();
    let mut client = broker.connect("acme").await;
    check_asked_to_come_back(&mut client, "unavailable").await;
    let held = came.elapsed();
    assert!(held >= Duration::from_secs(5), "{held:?}");
}

#[tokio::test]
async fn a_wrong_password_is_named_and_a_right_one_found() {
    const WRONG: &str = "not-the-word";
    let options = RedisOptions { password: Some("the-word".to_owned()), ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;
    for (url, code) in [
        (format!("redis://:{WRONG}@127.0.0.1:{}", server.port()), "WRONGPASS"),
        (format!("redis://nobody:{WRONG}@127.0.0.1:{}", server.port()), "WRONGPASS"),
        (format!("redis://127.0.0.1:{}", server.port()), "NOAUTH"),
    ] {
        let broker = Broker::start(BrokerOptions::embedded().set("redis.url", &url)).await;
        eventually("the reason is known", DEADLINE, async || why_not_ready(&broker).await.contains(code))
            .await;
        let status = broker.status().await.to_string();
        assert!(status.contains(code), "{status}");
        let log = broker.logged(code).await;
        for text in [log, status, why_not_ready(&broker).await] {
            assert!(!text.contains(WRONG), "{text}");
        }
    }

    let url = format!("redis://:{WRONG}@127.0.0.1:{}", server.port());
    let broker = Broker::start(BrokerOptions::embedded().set("redis.url", &url)).await;
    eventually("it is refused", DEADLINE, async || why_not_ready(&broker).await.contains("WRONGPASS")).await;
    server.command::<String>(&["ACL", "SETUSER", "default", &format!(">{WRONG}")]).await;
    broker.ready().await;
}
