//! The server responds and accepts no writes: it lacks replicas, memory, a disk, or connections.
//! Then a publisher gets `Retry-After`, since nothing was published.

use crate::support::commands::run_tidings;
use crate::support::directory::Directory;
use crate::support::http::{self, Response};
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisOptions, RedisServer, eventually};

async fn publish(broker: &Broker) -> Response {
    http::request(broker.address(), "POST", "/api/workspaces/acme/events", &[], "x").await
}

async fn check_asked_to_retry(broker: &Broker, code: &str) {
    let refused = publish(broker).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
    let text = refused.text();
    assert!(text.contains(code) && text.contains("nothing was published"), "{text}");
}

async fn server_with(configuration: &[&str]) -> RedisServer {
    let configuration = configuration.iter().map(|line| (*line).to_owned()).collect();
    RedisServer::start_with(RedisOptions { configuration, ..RedisOptions::default() }).await
}

/// Checks that a publisher gets `Retry-After` while a setting makes the server refuse writes, and
/// is served after.
pub(super) async fn check_refused_for_a_while(server: &RedisServer, broker: &Broker, code: &str) {
    let (setting, value) = if code == "OOM" { ("maxmemory", "1") } else { ("min-replicas-to-write", "1") };
    server.command::<String>(&["CONFIG", "SET", setting, value]).await;
    check_asked_to_retry(broker, code).await;
    server.command::<String>(&["CONFIG", "SET", setting, "0"]).await;
    assert_eq!(publish(broker).await.status, 200, "{code}");
}

#[tokio::test]
async fn publisher_gets_retry_after_from_a_full_server() {
    let server = server_with(&[]).await;
    let broker = Broker::start_ready(BrokerOptions::redis(&server)).await;
    for code in ["NOREPLICAS", "OOM"] {
        check_refused_for_a_while(&server, &broker, code).await;
    }
    assert_eq!(broker.status().await["bus"]["interruptions"], 0);
}

#[tokio::test]
async fn publisher_gets_retry_after_while_the_disk_is_full() {
    let data = Directory::new();
    let server = server_with(&[&format!("dir {}", data.path().display()), "save 3600 1"]).await;
    let broker = Broker::start_ready(BrokerOptions::redis(&server)).await;
    assert_eq!(publish(&broker).await.status, 200);
    drop(data);
    server.command::<String>(&["BGSAVE"]).await;
    eventually("the snapshot fails", DEADLINE, async || {
        server.info("persistence").await.contains("rdb_last_bgsave_status:err")
    })
    .await;
    check_asked_to_retry(&broker, "MISCONF").await;
    server.command::<String>(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]).await;
    assert_eq!(publish(&broker).await.status, 200);
}

#[tokio::test]
async fn full_server_is_reported_with_its_message() {
    const WORDS: &str = "max number of clients reached";
    let server = server_with(&["maxclients 2"]).await;
    // Both places, one of which is the harness's own.
    let [mut held, _other] = [server.connection().await.unwrap(), server.connection().await.unwrap()];
    let broker = Broker::start(BrokerOptions::redis(&server)).await;
    eventually("the reason is known", DEADLINE, async || {
        http::get(broker.admin(), "/ready").await.text().contains(WORDS)
    })
    .await;
    broker.logged(WORDS).await;
    let refused = publish(&broker).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    let url = server.url();
    let check = run_tidings(&["check"], &[("redis.url", &url)]).await;
    assert!(check.code == Some(1) && check.stdout.contains(WORDS), "{check:?}");
    assert!(check.stdout.contains("maxclients"), "{check:?}");
    // Over a place that is held: the broker may take each one that becomes free.
    let mut make_room = redis::cmd("CONFIG");
    make_room.arg("SET").arg("maxclients").arg(100);
    make_room.exec_async(&mut held).await.unwrap();
    broker.ready().await;
}
