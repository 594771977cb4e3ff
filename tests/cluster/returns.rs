//! Primaries that return after the cluster has replaced them.

use redis::Value;

use super::{WORKSPACES, broker, client, receives};
use crate::support::{DEADLINE, RedisCluster, eventually};

const WORKSPACE: &str = WORKSPACES[1];
const CHANNEL: &str = "workspace:ledger-3";

/// A frozen primary runs the commands that wait in its sockets before it learns of its successor.
/// It announces their events to its former replica, whose log never gets them.
#[tokio::test]
async fn event_of_a_replaced_primary_is_reset_and_not_delivered() {
    let cluster = RedisCluster::start().await;
    let broker = broker(&cluster).await;
    broker.publish(WORKSPACE, "first").await;
    let mut client = client(&broker, WORKSPACE).await;
    let mut connection = cluster.servers[1].connection().await.unwrap();
    cluster.servers[1].freeze();
    let mut publish = redis::cmd("FCALL");
    publish.arg("tidings_publish").arg(1).arg(CHANNEL).arg("of the former primary");
    let late = tokio::spawn(async move { publish.query_async::<Value>(&mut connection).await });
    cluster.is_primary(4).await;
    cluster.servers[4].command::<Value>(&["FCALL", "tidings_publish", "1", CHANNEL, "second"]).await;
    receives(&mut client, "second").await;
    broker.ready().await;
    cluster.servers[1].thaw();
    let reply = late.await.unwrap();
    assert!(reply.is_ok(), "the former primary still accepts the event: {reply:?}");
    cluster.is_whole().await;
    let reset = client.event_named("tidings.reset").await;
    assert!(reset.data.contains("bad-envelope"), "{reset:?}");
    cluster.servers[4].command::<Value>(&["FCALL", "tidings_publish", "1", CHANNEL, "third"]).await;
    receives(&mut client, "third").await;
    assert_eq!(client.application_data(), ["second", "third"]);
    let dropped = "tidings_events_dropped_total{reason=\"bad-envelope\"}";
    eventually("the event is counted", DEADLINE, async || broker.metric(dropped).await == Some(1.0)).await;
}
