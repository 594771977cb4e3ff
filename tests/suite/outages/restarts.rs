//! The server is stopped and started again.

use std::time::Duration;

use super::{Audience, RECOVERY, check_asked_to_come_back};
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, EventSource, RedisServer, eventually, http};

#[tokio::test]
async fn an_outage_of_3_seconds() {
    outage(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn an_outage_of_30_seconds() {
    outage(Duration::from_secs(30)).await;
}

async fn outage(lasting: Duration) {
    let mut server = RedisServer::start().await;
    // All about the link is as it is by default.
    let options = BrokerOptions::redis(&server)
        .set("sse.heartbeat_seconds", 0.5)
        .set("sse.retry_ms", 200)
        .set("redis.confirm_seconds", 1);
    let broker = Broker::start_ready(options).await;
    let mut audience = Audience::gather(&broker, 3).await;
    let mut source = EventSource::open(broker.address(), "workspace-0", Connect::default());
    source.connected().await;
    audience.check_hearing(&server, "before").await;

    let back = tokio::time::Instant::now() + lasting;
    server.stop();
    check_away(&broker, &mut audience).await;
    tokio::time::sleep_until(back).await;
    server.restart().await;

    audience.check_reset_and_receiving(&server, "after").await;
    source.wait_for(RECOVERY, |event| event.data == "after").await;
    assert_eq!((source.opened(), source.closed()), (1, None), "it stayed connected all the time");
    broker.ready().await;
    let bus = broker.status().await["bus"].clone();
    assert_eq!((&bus["state"], &bus["interruptions"]), (&"up".into(), &1.into()), "{bus}");
    // One reset is enough.
    for (_, client) in &audience.0 {
        let resets = client.events().iter().filter(|event| event.kind == "tidings.reset").count();
        assert_eq!(resets, 1);
    }
}

/// What a broker says and does while Redis is away.
async fn check_away(broker: &Broker, audience: &mut Audience) {
    eventually("the broker knows", DEADLINE, async || broker.status().await["bus"]["state"] == "down").await;
    let status = broker.status().await;
    assert_eq!(status["ready"], false);
    assert!(!status["bus"]["error"].as_str().unwrap().is_empty());
    let ready = http::get(broker.admin(), "/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("no link to the bus"), "{}", ready.text());

    // Streams stay open, and report the interruption.
    for (_, client) in &mut audience.0 {
        client
            .wait_for(DEADLINE, |event| {
                event.kind == "tidings.heartbeat" && !event.json()["live"].as_bool().unwrap()
            })
            .await;
    }
    // A new client is held for a while and then gets a reconnect, in a known workspace and in a new
    // one.
    for workspace in ["workspace-0", "workspace-new"] {
        let mut late = broker.connect(workspace).await;
        check_asked_to_come_back(&mut late, "unavailable").await;
        assert!(!late.events().iter().any(|event| event.is_connected()));
    }
    broker.logged("no link to Redis").await;
}
