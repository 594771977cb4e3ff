//! Another server takes over, and Sentinels say so.

use super::RECOVERY;
use crate::support::sentinel::SentinelGroup;
use crate::support::{Broker, BrokerOptions, DEADLINE, SseClient, TcpProxy, eventually};

async fn broker_of(group: &SentinelGroup) -> Broker {
    let options = group
        .settings()
        .into_iter()
        .fold(BrokerOptions::embedded(), |options, (key, value)| options.set(key, value));
    let broker = Broker::start(options).await;
    broker.ready().await;
    broker
}

/// Publishes until the broker has found a server that takes it, and checks that the client gets the
/// event.
async fn check_going_on(broker: &Broker, client: &mut SseClient, text: &str) {
    eventually("an event is published", RECOVERY, async || broker.try_publish("acme", text).await.is_some())
        .await;
    client.wait_for(RECOVERY, |event| event.data == text).await;
    assert_eq!(client.end(), None, "the stream lived through it");
}

#[tokio::test]
async fn the_primary_dies() {
    let mut group = SentinelGroup::start().await;
    let broker = broker_of(&group).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    check_going_on(&broker, &mut client, "before").await;
    let position = client.last_event_id();
    eventually("the replica has it", DEADLINE, async || {
        group.servers[1].command::<u64>(&["XLEN", "workspace:acme"]).await == 1
    })
    .await;
    group.servers[0].stop();
    group.wait_for_primary(1).await;
    check_going_on(&broker, &mut client, "after").await;
    assert_eq!(client.application_data(), ["before", "after"]);
    // Nothing was lost, and the log proves it: no client gets a reset.
    assert!(client.events().iter().all(|event| event.kind != "tidings.reset"), "{:?}", client.events());

    let mut back = broker.connect_with("acme", crate::support::Connect::after(&position)).await;
    assert_eq!(back.connected().await.json()["resumed"], true);
    assert_eq!(back.application_event().await.data, "after");
}

/// The old primary hangs: it neither closes connections nor responds. Thawed, it acts for a moment
/// as if nothing had happened.
#[tokio::test]
async fn the_primary_freezes_and_comes_back_as_a_replica() {
    let group = SentinelGroup::start().await;
    let broker = broker_of(&group).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    check_going_on(&broker, &mut client, "before").await;
    group.servers[0].freeze();
    group.wait_for_primary(1).await;
    check_going_on(&broker, &mut client, "while frozen").await;
    group.servers[0].thaw();
    check_going_on(&broker, &mut client, "after").await;
    let fresh: Vec<_> = client.application_data();
    assert_eq!(fresh, ["before", "while frozen", "after"]);
}

/// The connections to the Sentinels hang behind a peer that acknowledges all bytes and sends none.
#[tokio::test]
async fn swallowed_sentinel_links_are_made_again() {
    let group = SentinelGroup::start().await;
    let mut proxies = Vec::new();
    for port in group.sentinel_ports() {
        proxies.push(TcpProxy::start(port).await);
    }
    let nodes: Vec<_> = proxies.iter().map(|proxy| proxy.url("")).collect();
    let [_, (key, name)] = group.settings();
    let options = BrokerOptions::embedded().set("redis.sentinel.nodes", nodes.join(",")).set(key, name);
    let broker = Broker::start_ready(options).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    for proxy in &proxies {
        proxy.swallow_commands();
    }
    // The Sentinels are subscribers too.
    assert!(group.servers[0].kill_subscribers().await >= 1);
    check_going_on(&broker, &mut client, "after").await;
    broker.ready().await;
}
