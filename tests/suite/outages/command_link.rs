//! The link for commands hangs behind a peer that acknowledges all bytes and sends none, such as a
//! sidecar.

use std::time::{Duration, Instant};

use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, TcpProxy, eventually};

/// From the fault to the first publication the node needs 15 seconds at most. The rest is for a
/// busy machine. Without a bound the link hangs for good.
const BOUND: Duration = Duration::from_secs(15 + 10);

/// `redis.command_timeout_seconds`: a command on a link that hangs takes as long.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

async fn start() -> (RedisServer, TcpProxy, Broker) {
    let server = RedisServer::start().await;
    let proxy = TcpProxy::start(server.port()).await;
    let broker = Broker::start_ready(BrokerOptions::embedded().set("redis.url", proxy.url(""))).await;
    (server, proxy, broker)
}

#[tokio::test]
async fn swallowed_command_link_is_made_again_under_publishers() {
    let (_server, proxy, broker) = start().await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    broker.publish("acme", "before").await;
    proxy.swallow_commands();
    eventually("publishing works again", BOUND, async || broker.try_publish("acme", "after").await.is_some())
        .await;
    client.wait_for(DEADLINE, |event| event.data == "after").await;
    // Nothing was missed on the link for events, and no client gets a reset.
    assert_eq!(client.application_data(), ["before", "after"]);
    assert_eq!(broker.status().await["bus"]["interruptions"], 0);
}

#[tokio::test]
async fn swallowed_command_link_is_found_without_traffic() {
    let (_server, proxy, broker) = start().await;
    broker.publish("acme", "before").await;
    let made = proxy.connections();
    proxy.swallow_commands();
    eventually("the link is made anew", BOUND, async || proxy.connections() > made).await;
    let asked = Instant::now();
    broker.publish("acme", "after").await;
    assert!(asked.elapsed() < COMMAND_TIMEOUT, "{:?}", asked.elapsed());
    broker.ready().await;
}

/// A command that times out gives up the link, however long it takes until the link is looked at.
#[tokio::test]
async fn timed_out_command_gives_its_link_up() {
    let server = RedisServer::start().await;
    let proxy = TcpProxy::start(server.port()).await;
    let options = BrokerOptions::embedded()
        .set("redis.url", proxy.url(""))
        .set("redis.command_timeout_seconds", 0.5)
        .set("redis.ping_seconds", 60)
        .set("redis.probe_seconds", 60);
    let broker = Broker::start_ready(options).await;
    broker.publish("acme", "before").await;
    proxy.swallow_commands();
    assert_eq!(broker.try_publish("acme", "lost").await, None);
    broker.publish("acme", "after").await;
}
