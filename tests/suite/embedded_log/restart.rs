//! The process ends and starts again: clients that come back.

use std::time::Duration;

use super::{log, options, place};
use crate::support::directory::Directory;
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE};

const END: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_client_gets_what_it_missed_over_restarts() {
    for sync in ["always", "everysec", "no"] {
        let directory = Directory::new();
        let mut broker = Broker::start(options(&directory, sync).set("server.drain_delay_seconds", 0)).await;
        let mut client = broker.connect("acme").await;
        client.hello().await;
        let first = broker.publish("acme", "one").await;
        assert_eq!(client.next_event(DEADLINE).await.id, first);
        drop(client);
        broker.publish("acme", "two").await;
        broker.terminate(END).await;
        broker.restart().await;
        let third = broker.publish("acme", "three").await;
        assert!(place(&third) > place(&first));

        let mut client = broker.connect_with("acme", Connect::after(&first)).await;
        assert_eq!(client.hello().await.json()["resumed"], true);
        for payload in ["two", "three"] {
            let event = client.next_event(DEADLINE).await;
            assert_eq!((event.kind.as_str(), event.data.as_str()), ("message", payload), "{sync}");
        }
        broker.publish("acme", "four").await;
        assert_eq!(client.next_event(DEADLINE).await.data, "four");
        assert_eq!(log(&broker, "acme").await.len(), 4);
    }
}

#[tokio::test]
async fn without_a_file_the_log_is_gone_and_the_client_is_told() {
    let mut broker = Broker::start(BrokerOptions::embedded()).await;
    let mut client = broker.connect("acme").await;
    client.hello().await;
    let seen = broker.publish("acme", "one").await;
    assert_eq!(client.next_event(DEADLINE).await.id, seen);
    drop(client);
    broker.publish("acme", "missed").await;
    broker.restart().await;
    let mut client = broker.connect_with("acme", Connect::after(&seen)).await;
    assert_eq!(client.hello().await.json()["resumed"], false);
    let reset = client.event_named("tidings.reset").await;
    assert_eq!(reset.json()["from"], seen.as_str());
    broker.publish("acme", "two").await;
    assert_eq!(client.application_event().await.data, "two");
}
