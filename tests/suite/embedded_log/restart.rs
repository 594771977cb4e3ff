//! The process ends and starts again: clients that resume.

use std::time::Duration;

use hyper::StatusCode;

use super::{connection, log, options, place};
use crate::support::directory::Directory;
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, http};

const END: Duration = Duration::from_secs(20);

#[tokio::test]
async fn client_gets_missed_events_after_restarts() {
    for sync in ["always", "everysec", "no"] {
        let directory = Directory::new();
        let mut broker = Broker::start(options(&directory, sync).set("server.drain_delay_seconds", 0)).await;
        let mut client = broker.connect("acme").await;
        client.connected().await;
        let first = broker.publish("acme", "one").await;
        assert_eq!(client.next_event(DEADLINE).await.id, first);
        drop(client);
        broker.publish("acme", "two").await;
        broker.terminate(END).await;
        broker.restart().await;
        let third = broker.publish("acme", "three").await;
        assert!(place(&third) > place(&first));

        let mut client = broker.connect_with("acme", Connect::after(&first)).await;
        assert_eq!(client.connected().await.json()["resumed"], true);
        for payload in ["two", "three"] {
            let event = client.next_event(DEADLINE).await;
            assert_eq!((event.kind.as_str(), event.data.as_str()), ("message", payload), "{sync}");
        }
        broker.publish("acme", "four").await;
        assert_eq!(client.next_event(DEADLINE).await.data, "four");
        assert_eq!(log(&broker, "acme").await.len(), 4);
    }
}

/// The log and the mark of live events outlive the node. Events that it delivered in its last
/// moment count too.
#[tokio::test]
async fn live_event_before_a_stop_is_reported_after_the_restart() {
    const WORKSPACES: usize = 300;
    let directory = Directory::new();
    let options =
        options(&directory, "everysec").set("server.drain_delay_seconds", 0).set("server.drain_seconds", 0);
    let mut broker = Broker::start(options).await;
    let (mut clients, mut logged) = (Vec::new(), Vec::new());
    for index in 0..WORKSPACES {
        let workspace = format!("w{index}");
        let mut client = broker.connect(&workspace).await;
        client.connected().await;
        logged.push(broker.publish(&workspace, "logged").await);
        assert_eq!(client.next_event(DEADLINE).await.data, "logged");
        clients.push(client);
    }
    let mut publish = redis::pipe();
    for index in 0..WORKSPACES {
        publish.cmd("PUBLISH").arg(format!("workspace:w{index}")).arg("live").ignore();
    }
    publish.exec_async(&mut connection(&broker).await).await.unwrap();
    assert_eq!(clients[0].application_event().await.data, "live");
    broker.terminate(END).await;
    let mut reported = 0;
    for client in &mut clients {
        client.wait_end(DEADLINE).await;
        reported += usize::from(client.application_data().len() == 2);
    }
    assert!(reported > 0);

    broker.restart().await;
    for (index, client) in clients.iter().enumerate() {
        if client.application_data().len() == 2 {
            let after = Connect::after(&logged[index]);
            let mut client = broker.connect_with(&format!("w{index}"), after).await;
            let reset = client.event_named("tidings.reset").await;
            assert_eq!(reset.json()["reason"], "live-events", "w{index}");
        }
    }
}

#[tokio::test]
async fn restart_without_a_file_sends_a_reset() {
    let mut broker = Broker::start(BrokerOptions::embedded()).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    let seen = broker.publish("acme", "one").await;
    assert_eq!(client.next_event(DEADLINE).await.id, seen);
    drop(client);
    broker.publish("acme", "missed").await;
    broker.restart().await;
    let mut client = broker.connect_with("acme", Connect::after(&seen)).await;
    assert_eq!(client.connected().await.json()["resumed"], false);
    let reset = client.event_named("tidings.reset").await;
    assert_eq!(reset.json()["from"], seen.as_str());
    broker.publish("acme", "two").await;
    assert_eq!(client.application_event().await.data, "two");
}

/// Publishes over the Redis port with one key after the other until that is refused. Returns the
/// ids and the refusal.
async fn fill(broker: &Broker, workspace: &str) -> (Vec<String>, String) {
    let mut connection = connection(broker).await;
    let channel = format!("workspace:{workspace}");
    let mut ids = Vec::new();
    for page in 0..100 {
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for number in 0..200 {
            let key = format!("key-{}", 200 * page + number);
            pipe.cmd("FCALL").arg(&["tidings_publish", "1", &channel, "x", "", "", &key]);
        }
        let replies: Vec<redis::RedisResult<String>> = pipe.query_async(&mut connection).await.unwrap();
        for reply in replies {
            match reply {
                Ok(id) => ids.push(id),
                Err(error) => return (ids, error.to_string()),
            }
        }
    }
    panic!("any number of keys is taken");
}

async fn publish_with(broker: &Broker, workspace: &str, key: &str) -> http::Response {
    let target = format!("/api/workspaces/{workspace}/events");
    http::request(broker.address(), "POST", &target, &[("idempotency-key", key)], "again").await
}

#[tokio::test]
async fn full_workspace_takes_no_key_and_forgets_none_over_restart() {
    let directory = Directory::new();
    let options = options(&directory, "no")
        .set("embedded.idempotency_workspace_bytes", 1 << 20)
        .set("server.drain_delay_seconds", 0);
    let mut broker = Broker::start(options).await;
    let (ids, refusal) = fill(&broker, "acme").await;
    assert!(refusal.contains("embedded.idempotency_workspace_bytes"), "{refusal}");
    for _ in 0..2 {
        for number in [0, ids.len() - 1] {
            let again = publish_with(&broker, "acme", &format!("key-{number}")).await;
            assert_eq!((again.status, again.json()["id"].as_str()), (StatusCode::OK, Some(&*ids[number])));
        }
        let refused = publish_with(&broker, "acme", "another").await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
        assert!(refused.header("retry-after").parse::<u64>().is_ok());
        assert!(refused.text().contains("embedded.idempotency_workspace_bytes"), "{}", refused.text());
        assert_eq!(publish_with(&broker, "other", "another").await.status, StatusCode::OK);
        broker.publish("acme", "without a key").await;
        broker.terminate(END).await;
        broker.restart().await;
    }
}
