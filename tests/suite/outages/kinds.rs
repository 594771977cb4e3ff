//! The address names a server that is no place for a node: a replica, a node of a cluster, a
//! Sentinel, an old one.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::RECOVERY;
use crate::support::commands::run_tidings;
use crate::support::ports::Port;
use crate::support::sentinel::Sentinel;
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisOptions, RedisServer, eventually, http};

/// `tidings check` fails each time, `/ready` and the log say why, and what to set.
async fn check_named(url: &str, kind: &str, to_set: &str) {
    for run in 0..20 {
        let check = run_tidings(&["check"], &[("redis.url", url)]).await;
        assert_eq!(check.code, Some(1), "run {run}: {}", check.stdout);
        let failed: Vec<_> = check.stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
        assert!(failed.len() == 1 && failed[0].contains(kind), "run {run}: {}", check.stdout);
        assert!(check.stdout.contains(to_set), "run {run}: {}", check.stdout);
    }

    let broker = Broker::start(BrokerOptions::embedded().set("redis.url", url)).await;
    eventually("the reason is known", DEADLINE, async || {
        let ready = http::get(broker.admin(), "/ready").await;
        assert_eq!(ready.status, 503, "{}", ready.text());
        ready.text().contains(kind)
    })
    .await;
    let named = |line: &&str| line.contains(kind) && line.contains(to_set);
    eventually("it is logged", DEADLINE, async || broker.log().lines().any(|line| named(&line))).await;
    let log = broker.log();
    assert!(log.lines().filter(named).count() <= 3, "{log}");
    let response = http::request(broker.address(), "POST", "/api/workspaces/acme/events", &[], "x").await;
    assert_eq!(response.status, 503, "{}", response.text());
}

#[tokio::test]
async fn replica_is_named() {
    let primary = RedisServer::start().await;
    let configuration = vec![format!("replicaof 127.0.0.1 {}", primary.port())];
    let options = || RedisOptions { configuration: configuration.clone(), ..RedisOptions::default() };
    check_named(&RedisServer::start_with(options()).await.url(), "a replica", "redis.url").await;
}

#[tokio::test]
async fn cluster_node_is_named() {
    // By default its second port is the first plus 10,000, which another program may have.
    let port = Port::claim();
    let configuration = vec!["cluster-enabled yes".to_owned(), format!("cluster-port {}", port.number())];
    let server = RedisServer::start_with(RedisOptions { configuration, ..RedisOptions::default() }).await;
    // It owns all slots, so that nothing it is asked gives it away.
    server.command::<String>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    eventually("the cluster is up", RECOVERY, async || {
        server.command::<String>(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
    })
    .await;
    check_named(&server.url(), "a node of a Redis Cluster", "redis.url").await;
}

#[tokio::test]
async fn sentinel_is_named() {
    let primary = RedisServer::start().await;
    let sentinel = Sentinel::start(primary.port());
    eventually("the Sentinel answers", DEADLINE, async || sentinel.master().await.is_ok()).await;
    check_named(&sentinel.url(), "a Sentinel", "redis.sentinel.nodes").await;
}

/// `HELLO` is allowed to every user.
#[tokio::test]
async fn replica_is_named_to_users_with_few_rights() {
    let users = vec!["node on >secret &workspace:* -@all +subscribe +unsubscribe +ping".to_owned()];
    let configuration = vec!["replicaof 127.0.0.1 1".to_owned()];
    let server =
        RedisServer::start_with(RedisOptions { users, configuration, ..RedisOptions::default() }).await;
    check_named(&server.url_as("node", "secret"), "a replica", "redis.url").await;
}

/// A real server that says of itself to be of another version.
async fn posing_as(server: &RedisServer, version: &str) -> String {
    let info = server.info("server").await;
    let own = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap().trim().to_owned();
    // Of the same length, since RESP counts bytes.
    let posed = format!("{version}.{}", "1".repeat(own.len() - version.len() - 1));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, port) = (listener.local_addr().unwrap(), server.port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let ((mut asked, mut told), (mut said, mut ask)) = (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut asked, &mut ask).await });
            let (own, posed) = (own.clone(), posed.clone());
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Ok(read @ 1..) = said.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..read]).replace(&own, &posed);
                    if told.write_all(text.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    format!("redis://{address}")
}

#[tokio::test]
async fn server_before_redis_6_2_is_named() {
    let server = RedisServer::start().await;
    check_named(&posing_as(&server, "6.0").await, "older than Redis 6.2", "Redis 6.2 or later").await;
    let new = posing_as(&server, "6.2").await;
    run_tidings(&["check"], &[("redis.url", &new)]).await.success();
    Broker::start_ready(BrokerOptions::embedded().set("redis.url", &new)).await;
}
