//! Every form of `redis.url`, and outages over each.

use std::process::Command;

use super::Audience;
use crate::support::commands::run_tidings;
use crate::support::directory::{Directory, repository_file};
use crate::support::programs::run;
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisOptions, RedisServer, eventually, http};

/// Streams, publishes, and does both again after the links were closed.
async fn check_works(server: &RedisServer, broker: &Broker) {
    broker.ready().await;
    let mut audience = Audience::gather(broker, 1).await;
    audience.check_hearing(server, "live").await;
    broker.publish("workspace-0", "durable").await;
    for (_, client) in &mut audience.0 {
        assert_eq!(client.application_event().await.data, "durable");
    }
    server.kill_subscribers().await;
    audience.check_reset_and_receiving(server, "after").await;
}

#[tokio::test]
async fn user_with_the_documented_rights_is_enough() {
    let users = vec!["broker on >p@ss/word resetkeys resetchannels -@all".to_owned()];
    let options = RedisOptions { password: Some("other".to_owned()), users, ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;
    let url = server.url_as("broker", "p%40ss%2Fword");
    let broker = Broker::start(BrokerOptions::embedded().set("redis.url", &url)).await;
    eventually("it is refused", DEADLINE, async || {
        http::get(broker.admin(), "/ready").await.text().contains("NOPERM")
    })
    .await;

    // What an administrator does: copies the line, and puts the user's name in.
    let check = run_tidings(&["check"], &[("redis.url", &url)]).await;
    assert_eq!(check.code, Some(1), "{}", check.stdout);
    let rule = check.stdout.lines().find_map(|line| Some(&line[line.find("ACL SETUSER")?..])).unwrap();
    let rule = rule.replace("<user>", "broker");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("redis-cli --no-auth-warning -p {} --pass other {rule}", server.port()));
    assert_eq!(run(&mut shell).trim(), "OK", "{rule}");

    check_works(&server, &broker).await;
    assert_eq!(broker.status().await["bus"]["probeRefused"], serde_json::Value::Null);
    run_tidings(&["check"], &[("redis.url", &url)]).await.success();
}

#[tokio::test]
async fn a_password_of_the_default_user() {
    let options = RedisOptions { password: Some("secret".to_owned()), ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;
    let broker = Broker::start(BrokerOptions::redis(&server)).await;
    check_works(&server, &broker).await;
}

#[tokio::test]
async fn a_unix_socket() {
    let server = RedisServer::start().await;
    let broker = Broker::start(BrokerOptions::embedded().set("redis.url", server.socket_url())).await;
    check_works(&server, &broker).await;
}

#[tokio::test]
async fn tls_with_an_authority_of_the_system() {
    let options = RedisOptions { tls: true, password: Some("secret".to_owned()), ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;
    let (url, certificates) = server.tls_url();
    let url = url.replace("rediss://", "rediss://:secret@");
    let options = BrokerOptions::embedded().set("redis.url", &url);
    let authority = certificates.authority.to_str().unwrap();
    let broker = Broker::start(options.clone().environment("SSL_CERT_FILE", authority)).await;
    check_works(&server, &broker).await;

    // Another authority's word is not taken.
    let others = crate::support::tls::Certificates::make();
    let stranger = others.authority.to_str().unwrap();
    let broker = Broker::start(options.environment("SSL_CERT_FILE", stranger)).await;
    eventually("the reason is known", DEADLINE, async || {
        http::get(broker.admin(), "/ready").await.text().to_lowercase().contains("certificate")
    })
    .await;
}

#[tokio::test]
async fn another_prefix() {
    let server = RedisServer::start().await;
    let broker = Broker::start(BrokerOptions::redis(&server).set("redis.channel_prefix", "app:{ws}:")).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    assert_eq!(server.publish("workspace:acme", "not here").await, 0);
    assert_eq!(server.publish("app:{ws}:acme", "here").await, 1);
    assert_eq!(client.next_event(DEADLINE).await.data, "here");
    let id = broker.publish("acme", "durable").await;
    assert_eq!(client.next_event(DEADLINE).await.id, id);
    assert_eq!(server.command::<u64>(&["XLEN", "app:{ws}:acme"]).await, 1);
}

/// `docs/protocol.md` has these lines for Laravel, which puts a prefix before all channels.
#[tokio::test]
async fn the_prefix_that_laravel_adds() {
    let document = repository_file("docs/protocol.md");
    let (_, lines) = document.split_once("```toml\n[redis]\nchannel_prefix = \"laravel").unwrap();
    let lines = format!("[redis]\nchannel_prefix = \"laravel{}", lines.split("```").next().unwrap());
    let directory = Directory::new();
    let file = directory.write("tidings.toml", lines);
    let server = RedisServer::start().await;
    let options = BrokerOptions::redis(&server).argument("--config").argument(file.to_str().unwrap());
    let broker = Broker::start_ready(options).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    assert_eq!(server.publish("laravel-database-workspace:acme", "here").await, 1);
    assert_eq!(client.next_event(DEADLINE).await.data, "here");
    let order = r#"{"disconnect":{"workspace":"acme"}}"#;
    assert_eq!(server.publish("laravel-database-tidings:control", order).await, 1);
    assert_eq!(client.next_event(DEADLINE).await.json()["reason"], "disconnected");
}
