//! Tests of a broker on a Redis Cluster: the real program, and six real servers for each test.

#![expect(clippy::unwrap_used, reason = "a failed step ends the test, with a backtrace")]

mod costs;
mod moves;
mod networks;
mod recovery;
mod returns;
mod rights;

use tidings_testkit as support;

use redis::Value;

use crate::support::commands::run_tidings;
use crate::support::{
    Broker, BrokerOptions, DEADLINE, Event, RedisCluster, RedisServer, SseClient, eventually, http,
};

/// Workspaces on the first, second and third primary.
const WORKSPACES: [&str; 3] = ["ledger-2", "ledger-3", "ledger-0"];

async fn broker(cluster: &RedisCluster) -> Broker {
    Broker::start_ready(BrokerOptions::cluster(cluster).set("sse.heartbeat_seconds", 0.5)).await
}

async fn client(broker: &Broker, workspace: &str) -> SseClient {
    let mut client = broker.connect(workspace).await;
    client.connected().await;
    client
}

/// Waits for an event with this payload.
async fn receives(client: &mut SseClient, payload: &str) -> Event {
    client.wait_for(DEADLINE, |event| event.data == payload).await
}

/// The owner of a workspace's slot.
async fn owner<'a>(cluster: &'a RedisCluster, workspace: &str) -> &'a RedisServer {
    let slot = cluster.slot(&format!("workspace:{workspace}")).await;
    &cluster.servers[cluster.owner(slot).await]
}

/// Each way to publish reaches clients, whichever primary has the workspace.
#[tokio::test]
async fn event_reaches_clients_from_each_primary() {
    let cluster = RedisCluster::start().await;
    let broker = broker(&cluster).await;
    let script = include_str!("../../scripts/publish.lua");
    for (at, workspace) in WORKSPACES.into_iter().enumerate() {
        let mut client = client(&broker, workspace).await;
        let (server, channel) = (&cluster.servers[at], format!("workspace:{workspace}"));
        let epoch = format!("{{{channel}}}/epoch");
        broker.publish(workspace, "by HTTP").await;
        receives(&mut client, "by HTTP").await;
        server.command::<Value>(&["EVAL", script, "1", &channel, "by script"]).await;
        receives(&mut client, "by script").await;
        server.command::<Value>(&["FCALL", "tidings_publish", "2", &channel, &epoch, "by function"]).await;
        receives(&mut client, "by function").await;
        assert_eq!(server.command::<u64>(&["SPUBLISH", &channel, "live"]).await, 1);
        receives(&mut client, "live").await;
        let nodes = cluster.urls();
        let settings = [("redis.cluster.nodes", nodes.as_str())];
        run_tidings(&["publish", workspace, "by command"], &settings).await.success();
        receives(&mut client, "by command").await;
        let history = run_tidings(&["history", workspace, "--json"], &settings).await.success();
        assert_eq!(history.lines().count(), 4, "{history}");
    }
}

/// `CLIENT KILL` at one primary: the streams of the others remain live and see nothing.
#[tokio::test]
async fn lost_link_concerns_its_own_workspaces_alone() {
    let cluster = RedisCluster::start().await;
    let broker = broker(&cluster).await;
    let mut clients = Vec::new();
    for workspace in WORKSPACES {
        let mut client = client(&broker, workspace).await;
        // Without any durable event a workspace may carry live ones, and gets a reset.
        broker.publish(workspace, "first").await;
        receives(&mut client, "first").await;
        clients.push(client);
    }
    let lost = async || broker.metric("tidings_cluster_links_lost_total").await.unwrap();
    for round in 0..3 {
        let before = lost().await;
        assert_eq!(cluster.servers[0].kill_subscribers().await, 1);
        eventually("the link is lost", DEADLINE, async || lost().await > before).await;
        for (client, workspace) in clients.iter_mut().zip(WORKSPACES) {
            let payload = format!("round {round}");
            let server = owner(&cluster, workspace).await;
            let channel = format!("workspace:{workspace}");
            server.command::<Value>(&["FCALL", "tidings_publish", "1", &channel, &payload]).await;
            receives(client, &payload).await;
        }
        broker.ready().await;
    }
    for (client, workspace) in clients.iter().zip(WORKSPACES).skip(1) {
        // A stream that waits for its subscription has heartbeats too.
        let events = client.events().into_iter().skip_while(|event| !event.is_connected());
        let beats: Vec<_> = events.filter(|event| event.kind == "tidings.heartbeat").collect();
        assert!(beats.iter().all(|beat| beat.data.contains("\"live\":true")), "{workspace}: {beats:?}");
    }
    let events = clients.iter().flat_map(SseClient::events);
    let resets: Vec<_> = events.filter(|event| event.kind == "tidings.reset").collect();
    assert!(resets.is_empty(), "{resets:?}");
}

/// A lost link may have lost live events, which are in no log.
#[tokio::test]
async fn lost_link_resets_workspaces_with_live_events() {
    let cluster = RedisCluster::start().await;
    let broker = broker(&cluster).await;
    let workspace = WORKSPACES[0];
    let mut client = client(&broker, workspace).await;
    let channel = format!("workspace:{workspace}");
    cluster.servers[0].command::<u64>(&["SPUBLISH", &channel, "live"]).await;
    receives(&mut client, "live").await;
    assert_eq!(cluster.servers[0].kill_subscribers().await, 1);
    let reset = client.event_named("tidings.reset").await;
    assert!(reset.data.contains("interrupted"), "{reset:?}");
}

/// Backends use PUBLISH for disconnects. Each server of the cluster has a copy.
#[tokio::test]
async fn disconnect_at_any_server_ends_a_stream_once() {
    let cluster = RedisCluster::start().await;
    let broker = broker(&cluster).await;
    for (server, workspace) in [(1, "acme"), (2, "other")] {
        let mut client = client(&broker, workspace).await;
        let command = format!(r#"{{"disconnect":{{"workspace":"{workspace}"}}}}"#);
        let sent: u64 = cluster.servers[server].command(&["PUBLISH", "tidings:control", &command]).await;
        assert_eq!(sent, 1, "the copies of other servers are not counted");
        client.wait_end(DEADLINE).await;
    }
    eventually("both were carried out once", DEADLINE, async || {
        let count = broker.metric("tidings_control_commands_total").await;
        let invalid = broker.metric("tidings_control_commands_invalid_total").await;
        count.unwrap_or(0.0) + invalid.unwrap_or(0.0) == 2.0
    })
    .await;
}

/// A question reaches each node, through whichever servers, and each replies once.
#[tokio::test]
async fn nodes_of_a_cluster_are_listed_and_trace_an_event() {
    let cluster = RedisCluster::start().await;
    let brokers = [broker(&cluster).await, broker(&cluster).await];
    let nodes = cluster.urls();
    let settings = [("redis.cluster.nodes", nodes.as_str())];
    eventually("both nodes are listed", DEADLINE, async || {
        run_tidings(&["nodes"], &settings).await.stdout.matches("  ready").count() == 2
    })
    .await;
    for workspace in WORKSPACES {
        let mut clients = [client(&brokers[0], workspace).await, client(&brokers[1], workspace).await];
        let event = brokers[0].publish(workspace, "x").await;
        for client in &mut clients {
            receives(client, "x").await;
        }
        let text = run_tidings(&["trace", &event], &settings).await.success();
        assert!(text.contains("in the memory of 2 nodes. Open streams: 2 written"), "{text}");
        let text = run_tidings(&["explain", workspace, "--last-event-id", &event], &settings).await.success();
        assert!(text.contains("2 open streams"), "{text}");
    }
}

#[tokio::test]
async fn check_tries_each_primary() {
    let cluster = RedisCluster::start().await;
    let nodes = cluster.urls();
    let stdout = run_tidings(&["check"], &[("redis.cluster.nodes", &nodes)]).await.success();
    for server in &cluster.servers[..3] {
        assert!(stdout.contains(&format!("primary: 127.0.0.1:{}", server.port())), "{stdout}");
    }
    assert!(stdout.contains("SPUBLISH"), "{stdout}");
    // A server of another kind is named.
    let alone = RedisServer::start().await;
    let check = run_tidings(&["check"], &[("redis.cluster.nodes", &alone.url())]).await;
    assert_eq!(check.code, Some(1), "{}", check.stdout);
    assert!(check.stdout.contains("no node of a Redis Cluster"), "{}", check.stdout);
    let broker = Broker::start(BrokerOptions::embedded().set("redis.cluster.nodes", alone.url())).await;
    broker.logged("no node of a Redis Cluster").await;
    assert_eq!(http::get(broker.admin(), "/ready").await.status, 503);
}

/// The events of a measurement go to one server.
#[tokio::test]
async fn bench_names_the_way_to_publish_in_a_cluster() {
    let cluster = RedisCluster::start().await;
    let broker = broker(&cluster).await;
    let url = format!("http://{}/api", broker.address());
    let arguments = [
        "bench",
        "--url",
        &url,
        "--connections",
        "2",
        "--workspaces",
        "2",
        "--rate",
        "2",
        "--duration",
        "1s",
    ];
    let on_redis = [&arguments[..], &["--publish", "redis"]].concat();
    let nodes = cluster.urls();
    for (key, address) in [("redis.url", cluster.servers[0].url()), ("redis.cluster.nodes", nodes.clone())] {
        let stderr = run_tidings(&on_redis, &[(key, &address)]).await.failure(1);
        assert!(stderr.contains("--publish http"), "{stderr}");
    }
    run_tidings(&arguments, &[("redis.cluster.nodes", &nodes)]).await.success();
}
