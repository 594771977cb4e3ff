//! The server takes connections and subscriptions, and cannot do its work. It loads its data, is a
//! replica without its primary, or runs a long script.

use std::time::{Duration, Instant};

use super::RECOVERY;
use crate::support::directory::Directory;
use crate::support::{
    Broker, BrokerOptions, DEADLINE, RedisOptions, RedisServer, SseClient, TcpProxy, eventually,
};

/// How long connections are counted.
const WATCHED: Duration = Duration::from_secs(14);

/// By the default pauses of 0.1 s to 5 s, each at least half of that, 12 attempts fit into the
/// time. Each may take a connection for events and one for commands. An announcement of the node,
/// each three seconds, may take one too.
const CONNECTIONS_MAX: usize = 24 + 5;

async fn broker_behind(proxy: &TcpProxy) -> Broker {
    let options = BrokerOptions::embedded().set("redis.url", proxy.url(""));
    Broker::start(options.set("sse.heartbeat_seconds", 0.3).set("redis.confirm_seconds", 60)).await
}

/// Watches a broker over a server that cannot work: few connections and few lines, and nothing that
/// says that events come.
async fn check_waiting(proxy: &TcpProxy, broker: &Broker, client: &mut SseClient) {
    let (made, logged, began) = (proxy.connections(), broker.log().len(), Instant::now());
    let beats = client.events().len();
    while began.elapsed() < WATCHED {
        assert!(!broker.is_ready().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let made = proxy.connections() - made;
    assert!((2..=CONNECTIONS_MAX).contains(&made), "{made} connections in {WATCHED:?}");
    let warnings = broker.log()[logged..].matches("no link to Redis").count();
    assert!((1..=12).contains(&warnings), "{warnings} warnings in {WATCHED:?}");
    let beats = &client.events()[beats..];
    assert!(beats.len() > 10, "{beats:?}");
    for beat in beats {
        assert!(beat.kind == "tidings.heartbeat" && beat.json()["live"] == false, "{beat:?}");
    }
}

#[tokio::test]
async fn loading_server_is_asked_with_pauses() {
    // 160 keys take 0.1 s each; the server responds in between.
    let configuration =
        vec!["key-load-delay 100000".to_owned(), "loading-process-events-interval-bytes 1024".to_owned()];
    let mut server = RedisServer::start_with(RedisOptions { configuration, ..RedisOptions::default() }).await;
    for key in 0..160 {
        server.command::<String>(&["SET", &format!("key-{key}"), &fastrand_text()]).await;
    }
    server.command::<String>(&["SAVE"]).await;
    let proxy = TcpProxy::start(server.port()).await;
    let broker = broker_behind(&proxy).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;

    server.launch();
    eventually("the server loads", DEADLINE, async || {
        server.try_command::<String>(&["PING"]).await.is_err_and(|error| error.code() == Some("LOADING"))
            && broker.status().await["bus"]["error"].as_str().is_some_and(|error| error.contains("LOADING"))
    })
    .await;
    client
        .wait_for(DEADLINE, |event| event.kind == "tidings.heartbeat" && event.json()["live"] == false)
        .await;
    check_waiting(&proxy, &broker, &mut client).await;
    eventually("the node is back", RECOVERY * 6, async || broker.is_ready().await).await;
    server.publish("workspace:acme", "after").await;
    client.wait_for(DEADLINE, |event| event.data == "after").await;
}

/// Text that the server does not compress.
fn fastrand_text() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(1500).collect()
}

#[tokio::test]
async fn replica_without_its_primary_is_asked_with_pauses() {
    let configuration = vec!["replica-serve-stale-data no".to_owned()];
    let server = RedisServer::start_with(RedisOptions { configuration, ..RedisOptions::default() }).await;
    let proxy = TcpProxy::start(server.port()).await;
    let broker = broker_behind(&proxy).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    server.command::<String>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    eventually("the link is lost", DEADLINE, async || broker.status().await["bus"]["interruptions"] == 1)
        .await;
    client
        .wait_for(DEADLINE, |event| event.kind == "tidings.heartbeat" && event.json()["live"] == false)
        .await;
    check_waiting(&proxy, &broker, &mut client).await;
    server.command::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    eventually("the node is back", RECOVERY, async || broker.is_ready().await).await;
    server.publish("workspace:acme", "after").await;
    client.wait_for(DEADLINE, |event| event.data == "after").await;
}

#[tokio::test]
async fn long_script_is_no_interruption() {
    const SCRIPT: &str = "local function now() local t = redis.call('TIME') return t[1] + t[2] / 1e6 end \
        local began = now() while now() - began < 5 do end return 'done'";
    let configuration = vec!["lua-time-limit 100".to_owned()];
    let server = RedisServer::start_with(RedisOptions { configuration, ..RedisOptions::default() }).await;
    let broker = Broker::start_ready(BrokerOptions::redis(&server)).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    assert_eq!(server.command::<String>(&["EVAL", SCRIPT, "0"]).await, "done");
    server.publish("workspace:acme", "after").await;
    client.wait_for(DEADLINE, |event| event.data == "after").await;
    assert_eq!(broker.status().await["bus"]["interruptions"], 0);
}

/// While a snapshot cannot be written, the server responds to pings with an error, and delivers all
/// the same.
#[tokio::test]
async fn failed_snapshot_is_no_interruption() {
    let data = Directory::new();
    let configuration = vec![format!("dir {}", data.path().display()), "save 3600 1".to_owned()];
    let server = RedisServer::start_with(RedisOptions { configuration, ..RedisOptions::default() }).await;
    let broker = Broker::start_ready(BrokerOptions::redis(&server).set("redis.ping_seconds", 0.1)).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    drop(data);
    server.command::<String>(&["BGSAVE"]).await;
    let failing = async || {
        server.try_command::<String>(&["PING"]).await.is_err_and(|error| error.code() == Some("MISCONF"))
    };
    eventually("the snapshot fails", DEADLINE, failing).await;
    let refused_pings = async || {
        let statistics = server.info("commandstats").await;
        let pings = statistics.lines().find(|line| line.starts_with("cmdstat_ping:")).unwrap_or_default();
        let refused = pings.split("rejected_calls=").nth(1).and_then(|rest| rest.split(',').next());
        refused.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0)
    };
    eventually("pings are refused", DEADLINE, async || refused_pings().await >= 5).await;
    server.publish("workspace:acme", "after").await;
    client.wait_for(DEADLINE, |event| event.data == "after").await;
    assert_eq!(broker.status().await["bus"]["interruptions"], 0);
    broker.ready().await;
}
