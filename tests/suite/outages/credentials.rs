//! Credentials of a node: passwords and certificates, out of files that are rotated while it runs.

use std::path::Path;

use crate::support::commands::run_tidings;
use crate::support::directory::Directory;
use crate::support::programs::run;
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisOptions, RedisServer, eventually, http};

const FIRST: &str = "the-first-password";
const SECOND: &str = "the-second-password";

async fn why_not_ready(broker: &Broker) -> String {
    http::get(broker.admin(), "/ready").await.text().to_owned()
}

async fn server_with_user() -> RedisServer {
    let users = vec![format!("broker on >{FIRST} ~* &* +@all")];
    RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await
}

fn settings<'a>(url: &'a str, file: &'a Path) -> [(&'static str, &'a str); 2] {
    [("redis.url", url), ("redis.password_file", file.to_str().unwrap())]
}

#[tokio::test]
async fn rotated_password_is_read_again() {
    let server = server_with_user().await;
    let directory = Directory::new();
    let file = directory.write("password", format!("{FIRST}\n"));
    let url = format!("redis://broker@127.0.0.1:{}", server.port());
    let mut options = BrokerOptions::embedded();
    for (key, value) in settings(&url, &file) {
        options = options.set(key, value);
    }
    let broker = Broker::start_ready(options).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    run_tidings(&["check"], &settings(&url, &file)).await.success();

    // The server is first: open connections remain, and new ones are refused until the file
    // follows.
    server.command::<String>(&["ACL", "SETUSER", "broker", "resetpass", &format!(">{SECOND}")]).await;
    broker.publish("acme", "over the standing connections").await;
    assert_eq!(client.application_event().await.data, "over the standing connections");
    server.command::<u64>(&["CLIENT", "KILL", "USER", "broker"]).await;
    eventually("it is refused", DEADLINE, async || why_not_ready(&broker).await.contains("WRONGPASS")).await;
    let wrong = run_tidings(&["check"], &settings(&url, &file)).await;
    assert!(wrong.stdout.contains("redis.password_file"), "{wrong:?}");
    directory.write("password", SECOND);
    broker.ready().await;
    broker.publish("acme", "with the second").await;
    client.wait_for(DEADLINE, |event| event.data == "with the second").await;

    // Each link by itself: the one for commands alone is lost and made again.
    let third = "the-third-password";
    server.command::<String>(&["ACL", "SETUSER", "broker", "resetpass", &format!(">{third}")]).await;
    directory.write("password", third);
    server.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal", "USER", "broker"]).await;
    eventually("it publishes again", DEADLINE, async || {
        let publish =
            http::request(broker.address(), "POST", "/api/workspaces/acme/events", &[], "with the third")
                .await;
        publish.status == 200
    })
    .await;
    client.wait_for(DEADLINE, |event| event.data == "with the third").await;
    for text in [broker.log(), broker.status().await.to_string()] {
        assert!(![FIRST, SECOND, third].iter().any(|password| text.contains(password)), "{text}");
    }
}

#[tokio::test]
async fn file_that_cannot_be_used_is_named_until_it_can() {
    let server = server_with_user().await;
    let directory = Directory::new();
    let file = directory.file("password");
    let url = format!("redis://broker@127.0.0.1:{}", server.port());
    let mut options = BrokerOptions::embedded();
    for (key, value) in settings(&url, &file) {
        options = options.set(key, value);
    }
    let broker = Broker::start(options).await;
    for (text, reason) in [(None, "No such file"), (Some(""), "it is empty"), (Some("***\n"), "it holds ***")]
    {
        if let Some(text) = text {
            directory.write("password", text);
        }
        eventually(reason, DEADLINE, async || why_not_ready(&broker).await.contains(reason)).await;
        let told = run_tidings(&["check"], &settings(&url, &file)).await;
        assert!(told.stdout.contains(reason) && told.stdout.contains("redis.password_file"), "{told:?}");
    }
    std::fs::remove_file(&file).unwrap();
    run(std::process::Command::new("mkfifo").arg(&file));
    eventually("a pipe is refused", DEADLINE, async || {
        why_not_ready(&broker).await.contains("not a regular file")
    })
    .await;
    std::fs::remove_file(&file).unwrap();
    directory.write("password", FIRST);
    broker.ready().await;
}

#[tokio::test]
async fn certificate_is_shown_to_a_server_that_asks_for_one() {
    let configuration = vec!["tls-auth-clients yes".to_owned()];
    let server =
        RedisServer::start_with(RedisOptions { tls: true, configuration, ..RedisOptions::default() }).await;
    let (url, certificates) = server.tls_url();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let directory = Directory::new();
    let copy = |name: &str, from: &Path| directory.write(name, std::fs::read_to_string(from).unwrap());
    let (cert, key) = (copy("cert", &certificates.certificate), copy("key", &certificates.key));
    let (ca, cert, key) = (path(&certificates.authority), path(&cert), path(&key));

    let without = [("redis.url", &*url), ("redis.tls.ca", &ca)];
    let told = run_tidings(&["check"], &without).await;
    assert!(told.stdout.contains("redis.tls.cert"), "{told:?}");
    assert_eq!(told.code, Some(1));
    let with = [&without[..], &[("redis.tls.cert", &cert), ("redis.tls.key", &key)]].concat();
    run_tidings(&["check"], &with).await.success();
    let mut options = BrokerOptions::embedded();
    for (key, value) in with {
        options = options.set(key, value);
    }
    let broker = Broker::start_ready(options).await;
    broker.publish("acme", "durable").await;

    // A certificate that the server does not take, and the one that it takes again.
    let stranger = crate::support::tls::Certificates::make();
    copy("cert", &stranger.certificate);
    copy("key", &stranger.key);
    server.kill_subscribers().await;
    server.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    eventually("it is refused", DEADLINE, async || {
        let reason = why_not_ready(&broker).await.to_lowercase();
        reason.contains("unknownca") || reason.contains("certificate") || reason.contains("decrypt")
    })
    .await;
    copy("cert", &certificates.certificate);
    copy("key", &certificates.key);
    broker.ready().await;
    broker.publish("acme", "durable").await;
}

#[tokio::test]
async fn sentinel_password_comes_from_a_file() {
    let server = server_with_user().await;
    let sentinel =
        crate::support::sentinel::Sentinel::start_with(server.port(), &[&format!("requirepass {SECOND}")]);
    let directory = Directory::new();
    let file = directory.write("sentinel", "not this\n").display().to_string();
    let own = directory.write("password", FIRST).display().to_string();
    let options = BrokerOptions::embedded()
        .set("redis.url", "redis://broker@ignored")
        .set("redis.password_file", own)
        .set("redis.sentinel.nodes", sentinel.url())
        .set("redis.sentinel.primary", crate::support::sentinel::NAME)
        .set("redis.sentinel.password_file", file);
    let broker = Broker::start(options).await;
    eventually("it is refused", DEADLINE, async || {
        why_not_ready(&broker).await.contains("authentication failed")
    })
    .await;
    let told = run_tidings(
        &["check"],
        &[
            ("redis.sentinel.nodes", &*sentinel.url()),
            ("redis.sentinel.primary", crate::support::sentinel::NAME),
        ],
    )
    .await;
    assert!(told.stdout.contains("redis.sentinel.password_file"), "{told:?}");
    directory.write("sentinel", SECOND);
    broker.ready().await;
    broker.publish("acme", "durable").await;
}
