//! Questions to all nodes whose Redis is known to Sentinels.

use serde_json::{Value, json};

use super::{TOKEN, id, of_node};
use crate::support::commands::run_tidings;
use crate::support::sentinel::SentinelGroup;
use crate::support::{Broker, BrokerOptions, DEADLINE, SseClient, eventually};

/// The time in which all nodes are linked to another primary.
const RECOVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// Publishes an event, and checks that all three commands know of it and of its stream.
async fn check_commands(group: &SentinelGroup, brokers: [&Broker; 2], client: &mut SseClient, text: &str) {
    let settings = group.settings();
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let document = async |arguments: &[&str]| -> Value {
        let finished = run_tidings(&[arguments, &["--json"]].concat(), &settings).await;
        serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"))
    };
    let [one, other] = brokers;
    eventually("both nodes reply", RECOVERY, async || {
        let finished = run_tidings(&["nodes", "--json"], &settings).await;
        let list: Value = serde_json::from_str(&finished.stdout).unwrap_or_default();
        let ready = |node: &Value| node["ready"] == true;
        finished.code == Some(0)
            && list["nodes"].as_array().is_some_and(|nodes| nodes.len() == 2 && nodes.iter().all(ready))
    })
    .await;
    let event = one.publish("acme", text).await;
    client.wait_for(DEADLINE, |event| event.data == text).await;
    let traced = document(&["trace", &event]).await;
    assert_eq!(traced["workspace"], "acme", "{traced}");
    assert_eq!(of_node(&traced, &id(other).await)["written"], 1, "{traced}");
    assert_eq!((&traced["log"]["held"], &traced["silent"]), (&json!(true), &json!([])), "{traced}");
    let explained = document(&["explain", "acme", "--last-event-id", &event]).await;
    assert_eq!((&explained["silent"], &explained["error"]), (&json!([]), &json!(null)), "{explained}");
    let node = of_node(&explained, &id(other).await);
    assert_eq!((&node["open"]["workspace"], &node["confirmed"]), (&json!(1), &json!(true)), "{node}");
    assert_eq!(node["resumption"]["from"], "ring", "{node}");
    assert_eq!(of_node(&explained, &id(one).await)["resumption"]["from"], "log", "{explained}");
}

#[tokio::test]
async fn commands_ask_nodes_before_and_after_a_failover() {
    let mut group = SentinelGroup::start().await;
    let options = || {
        let settings = group.settings().into_iter();
        let options = BrokerOptions::embedded().set("admin.token", TOKEN);
        settings.fold(options, |options, (key, value)| options.set(key, value))
    };
    let one = Broker::start_ready(options()).await;
    let other = Broker::start_ready(options()).await;
    let mut client = other.connect("acme").await;
    client.connected().await;
    check_commands(&group, [&one, &other], &mut client, "before").await;
    eventually("the replica has it", DEADLINE, async || {
        group.servers[1].command::<u64>(&["XLEN", "workspace:acme"]).await == 1
    })
    .await;
    group.servers[0].stop();
    group.wait_for_primary(1).await;
    eventually("both nodes are linked again", RECOVERY, async || {
        one.status().await["ready"] == true && other.status().await["ready"] == true
    })
    .await;
    check_commands(&group, [&one, &other], &mut client, "after").await;
}
