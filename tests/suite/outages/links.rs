//! The server runs on, and the link to it breaks or hangs.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Audience, RECOVERY, check_no_silent_loss};
use crate::support::test_cluster::publish_live;
use crate::support::{
    Broker, BrokerOptions, Bus, Connect, DEADLINE, EventSource, RedisOptions, RedisServer, TestCluster,
    eventually,
};

#[tokio::test]
async fn a_server_that_falls_silent_is_found_within_5_seconds() {
    let server = RedisServer::start().await;
    let broker = Broker::start_ready(BrokerOptions::redis(&server)).await;
    let mut audience = Audience::gather(&broker, 3).await;
    let mut source = EventSource::open(broker.address(), "workspace-1", Connect::default());
    source.connected().await;

    let frozen = Instant::now();
    server.freeze();
    // A client that connects before the discovery waits like the others.
    let mut late = broker.connect("workspace-late").await;
    // Pings find it after 4 seconds. The rest is for a busy machine.
    eventually("the broker knows", Duration::from_secs(8), async || {
        broker.status().await["bus"]["state"] == "down"
    })
    .await;
    assert!(
        frozen.elapsed() >= Duration::from_secs(2),
        "found before it was patient: {:?}",
        frozen.elapsed()
    );
    assert!(!broker.is_ready().await);
    let log = broker.logged("no link to Redis").await;
    assert!(log.contains("no reply to a ping within") || log.contains("did not reply in time"), "{log}");
    // It connects to the frozen server again and again, in vain; the kernel takes its connections.
    tokio::time::sleep_until((frozen + Duration::from_secs(9)).into()).await;
    assert_ne!(broker.status().await["bus"]["state"], "up");
    server.thaw();

    audience.check_reset_and_receiving(&server, "after").await;
    source.wait_for(RECOVERY, |event| event.data == "after").await;
    // The late one was either greeted in the end or sent a reconnect.
    let word =
        late.wait_for(RECOVERY, |event| event.is_connected() || event.kind == "tidings.reconnect").await;
    assert!(word.is_connected() || late.wait_end(DEADLINE).await == crate::support::End::Clean);
    broker.ready().await;
}

#[tokio::test]
async fn a_pause_of_the_server_is_no_interruption() {
    let server = RedisServer::start().await;
    let options =
        BrokerOptions::redis(&server).set("redis.ping_seconds", 0.1).set("redis.ping_timeout_seconds", 10);
    let broker = Broker::start(options).await;
    let mut audience = Audience::gather(&broker, 1).await;
    server.freeze();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.thaw();
    audience.check_hearing(&server, "after").await;
    assert_eq!(broker.status().await["bus"]["interruptions"], 0);
}

#[tokio::test]
async fn closed_links_are_made_again() {
    let server = RedisServer::start().await;
    let broker = Broker::start_ready(BrokerOptions::redis(&server)).await;
    let mut audience = Audience::gather(&broker, 3).await;
    for round in 0..5 {
        assert_eq!(server.kill_subscribers().await, 1);
        audience.check_reset_and_receiving(&server, &format!("round {round}")).await;
    }
    assert_eq!(broker.status().await["bus"]["interruptions"], 5);

    // The connection for commands is another one, and no client notices that it is made again.
    server.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    eventually("publishing works again", DEADLINE, async || {
        let target = "/api/workspaces/workspace-0/events";
        crate::support::http::request(broker.address(), "POST", target, &[], "x").await.status == 200
    })
    .await;
    assert_eq!(broker.status().await["bus"]["interruptions"], 5);
}

#[tokio::test]
async fn lost_live_event_of_a_link_causes_a_reset() {
    const LAST: u64 = 3000;
    let cluster = TestCluster::start_with(
        Bus::Redis,
        &[("ring.events", "100000"), ("redis.backoff_min_seconds", "0.01")],
    )
    .await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = cluster.broker.connect("acme").await;
        client.connected().await;
        clients.push(client);
    }
    let mut connection = cluster.connection().await;
    for number in 0..=LAST {
        if number % 500 == 250 {
            cluster.redis().kill_subscribers().await;
        }
        publish_live(&mut connection, "acme", number.to_string()).await;
        if number % 500 == 499 || number == LAST - 1 {
            // So that the link is there to be closed again, and receives the last one.
            eventually("the link stands", RECOVERY, async || {
                cluster.redis().subscribers("workspace:acme").await == 1
            })
            .await;
        }
    }
    let mut lost = false;
    for client in &mut clients {
        client.wait_for(RECOVERY, |event| event.data == LAST.to_string()).await;
        check_no_silent_loss(&client.events(), LAST);
        lost |= (client.application_data().len() as u64) < LAST;
    }
    assert!(lost, "nothing was lost, so nothing was tested");
}

#[tokio::test]
async fn durable_event_is_not_lost_with_a_link() {
    const LAST: u64 = 600;
    let cluster = TestCluster::start_with(Bus::Redis, &[("redis.backoff_min_seconds", "0.01")]).await;
    cluster.broker.publish("acme", "before anybody came").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = cluster.broker.connect("acme").await;
        client.connected().await;
        clients.push(client);
    }
    let script = include_str!("../../../scripts/publish.lua");
    for number in 0..=LAST {
        if number % 100 == 50 {
            assert_eq!(cluster.redis().kill_subscribers().await, 1);
        }
        // By a backend, so that the broker's own connections have no part in it.
        let number_text = number.to_string();
        cluster.redis().command::<String>(&["EVAL", script, "1", "workspace:acme", &number_text]).await;
        if number % 100 == 99 {
            eventually("the link stands", RECOVERY, async || {
                cluster.redis().subscribers("workspace:acme").await == 1
            })
            .await;
        }
    }
    for client in &mut clients {
        client.wait_for(RECOVERY, |event| event.data == LAST.to_string()).await;
        let expected: Vec<_> = (0..=LAST).map(|number| number.to_string()).collect();
        assert_eq!(client.application_data(), expected, "each once, in order");
        assert!(client.events().iter().all(|event| event.kind != "tidings.reset"), "nothing was missing");
    }
    assert_eq!(cluster.broker.status().await["bus"]["interruptions"], 6);
}

#[tokio::test]
async fn node_dropped_by_redis_sends_resets() {
    let configuration = vec!["client-output-buffer-limit pubsub 1mb 1mb 1".to_owned()];
    let server = RedisServer::start_with(RedisOptions { configuration, ..RedisOptions::default() }).await;
    let ring = 64 * 1024 * 1024;
    let options = BrokerOptions::redis(&server).set("ring.bytes", ring).set("limits.replay_bytes", 8 * ring);
    let broker = Broker::start(options).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    broker.signal(Signal::SIGSTOP);
    // More than all buffers between Redis and the broker hold.
    let payload = "x".repeat(200_000);
    let mut sent = 0;
    eventually("Redis cuts the node off", RECOVERY, async || {
        for _ in 0..20 {
            sent += server.publish("workspace:acme", &payload).await;
        }
        server.subscribers("workspace:acme").await == 0
    })
    .await;
    broker.signal(Signal::SIGCONT);
    let reset = client.wait_for(RECOVERY, |event| event.kind == "tidings.reset").await;
    assert_eq!(reset.json()["reason"], "interrupted");
    assert!((client.application_data().len() as u64) < sent, "nothing was lost, so nothing was tested");
    server.publish("workspace:acme", "after").await;
    assert_eq!(client.application_event().await.data, "after");
}
