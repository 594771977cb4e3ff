//! SIGHUP: the settings that a running node replaces, and those that need a restart.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::commands::run_tidings;
use crate::support::directory::{Directory, repository, repository_file};
use crate::support::token::{SECRET, bearer, token};
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, RedisOptions, RedisServer, eventually, http};

const TARGET: &str = "/api/workspaces/acme/events";
const DONE: &str = "the configuration was read again";
const FAILED: &str = "the configuration cannot be read again";

/// A node with a file of settings.
struct Configured {
    broker: Broker,
    file: PathBuf,
    _directory: Directory,
}

impl Configured {
    async fn start(settings: &str) -> Self {
        let directory = Directory::new();
        let file = directory.write("tidings.toml", settings);
        let options = BrokerOptions::embedded().argument("--config").argument(file.to_str().unwrap());
        Self { broker: Broker::start_ready(options).await, file, _directory: directory }
    }

    /// Replaces the settings and waits for a further line of the log. Returns the lines from there.
    async fn reload(&self, settings: &str, expected: &str) -> String {
        std::fs::write(&self.file, settings).unwrap();
        let before = self.broker.log();
        self.broker.signal(Signal::SIGHUP);
        let new = || self.broker.log()[before.len()..].to_owned();
        eventually(expected, DEADLINE, async || new().contains(expected)).await;
        new()
    }

    async fn status(&self, method: &str, headers: &[(&str, &str)]) -> u16 {
        let target = format!("{TARGET}?errors=http");
        http::request(self.broker.address(), method, &target, headers, "1").await.status.as_u16()
    }
}

#[tokio::test]
async fn limits_on_streams_and_connections_are_replaced() {
    let node = Configured::start("[limits]\nconnections_per_workspace = 1\n").await;
    let mut first = node.broker.connect("acme").await;
    first.connected().await;
    assert_eq!(node.status("GET", &[]).await, 503);
    let log = node.reload("[limits]\nconnections_per_workspace = 2\n", DONE).await;
    assert!(log.contains("limits.connections_per_workspace"), "{log}");
    let mut second = node.broker.connect("acme").await;
    second.connected().await;

    node.reload("[limits]\nconnections_per_address = 1\n", DONE).await;
    // The open connections had no limit and do not count.
    let mut third = node.broker.connect("acme").await;
    third.connected().await;
    assert_eq!(node.status("GET", &[]).await, 503);
    assert!(first.end().is_none() && second.end().is_none(), "open streams remain");
}

#[tokio::test]
async fn publish_rate_is_replaced() {
    let node = Configured::start("[limits]\nevents_per_second = 1\n").await;
    let mut last = 200;
    eventually("the rate is exceeded", DEADLINE, async || {
        last = node.status("POST", &[]).await;
        last == 429
    })
    .await;
    node.reload("", DONE).await;
    for _ in 0..20 {
        assert_eq!(node.status("POST", &[]).await, 200);
    }
}

#[tokio::test]
async fn origins_and_log_level_are_replaced() {
    let node = Configured::start("").await;
    let origin = [("Origin", "https://app.example")];
    assert_eq!(node.status("POST", &origin).await, 403);
    let settings = "[cors]\norigins = [\"https://app.example\"]\n[log]\nlevel = \"debug\"\n";
    let log = node.reload(settings, DONE).await;
    assert!(log.contains("cors.origins, log.level"), "{log}");
    assert_eq!(node.status("POST", &origin).await, 200);
    node.broker.connect("acme").await.connected().await;
    node.broker.logged("stream opened").await;

    let log = node.reload("[log]\nlevel = \"error\"\n", DONE).await;
    assert!(log.contains("cors.origins, log.level"), "the level before shows the line: {log}");
    assert_eq!(node.status("POST", &origin).await, 403);
    // The new level shows it now.
    node.reload("", DONE).await;
}

#[tokio::test]
async fn secret_of_tokens_is_replaced() {
    let settings = |secret: &str, more: &str| {
        format!("[auth]\nmode = \"jwt\"\n[auth.jwt]\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n{more}")
    };
    let node = Configured::start(&settings("another secret of thirty-two bytes, or more", "")).await;
    let header = bearer(&token("ann", &["acme"], 60, &json!({})));
    let with_token = Connect { headers: vec![("authorization".to_owned(), header)], ..Connect::default() };
    assert_eq!(node.broker.connect_with("acme", with_token.clone()).await.status(), 401);
    let log = node.reload(&settings(SECRET, ""), DONE).await;
    assert!(log.contains("auth.jwt.secret") && !log.contains(SECRET), "{log}");
    let mut stream = node.broker.connect_with("acme", with_token.clone()).await;
    stream.connected().await;

    // Further rules hold too, and the open stream remains.
    node.reload(&settings(SECRET, "audience = [\"other\"]\nissuer = [\"https://id.example\"]\n"), DONE).await;
    assert_eq!(node.broker.connect_with("acme", with_token).await.status(), 401);
    assert!(stream.end().is_none());
}

/// A provider of identities that is away cannot give the keys once more.
#[tokio::test]
async fn fetched_keys_stay_known_over_other_settings_of_tokens() {
    let provider = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", provider.local_addr().unwrap());
    let pem = repository_file("tests/keys/ed25519.public.pem");
    // The key is the last 32 bytes of its DER: 12 bytes precede them.
    let x = pem.lines().nth(1).unwrap()[16..].trim_end_matches('=').replace('+', "-").replace('/', "_");
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k1", "use": "sig" }] });
    let provider = tokio::spawn(async move {
        let body = keys.to_string();
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        loop {
            let (mut stream, _) = provider.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    let settings = |leeway: u32| {
        format!(
            "[auth]\nmode = \"jwt\"\n[auth.jwt]\nalgorithm = \"EdDSA\"\njwks_url = \"{url}\"\nleeway_seconds = {leeway}\n"
        )
    };
    let node = Configured::start(&settings(30)).await;
    let private = repository().join("tests/keys/ed25519.pem").display().to_string();
    let arguments = ["token", "new", "--workspace", "acme", "--key", &private, "--kid", "k1"];
    let of_token = [("auth.mode", "jwt"), ("auth.jwt.algorithm", "EdDSA"), ("auth.jwt.jwks_url", &*url)];
    let printed = run_tidings(&arguments, &of_token).await.success();
    let header = bearer(printed.trim());
    let headers = [("authorization", &*header)];
    let access = async || {
        http::request(node.broker.address(), "GET", "/api/workspaces/acme/access", &headers, "").await.status
    };
    eventually("the keys are known", DEADLINE, async || access().await == 204).await;
    provider.abort();
    assert!(provider.await.unwrap_err().is_cancelled());
    let log = node.reload(&settings(31), DONE).await;
    assert!(log.contains("auth.jwt.leeway_seconds"), "{log}");
    assert_eq!(access().await, 204);
}

#[tokio::test]
async fn password_in_the_redis_url_is_replaced() {
    let users = vec!["node on >first-password ~* &* +@all".to_owned()];
    let server = RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await;
    let settings =
        |password: &str| format!("[redis]\nurl = \"redis://node:{password}@127.0.0.1:{}\"\n", server.port());
    let node = Configured::start(&settings("first-password")).await;
    let mut stream = node.broker.connect("acme").await;
    stream.connected().await;
    server.command::<String>(&["ACL", "SETUSER", "node", "resetpass", ">second-password"]).await;
    let log = node.reload(&settings("second-password"), DONE).await;
    assert!(log.contains("redis.url") && !log.contains("-password") && !log.contains("restart"), "{log}");
    server.command::<u64>(&["CLIENT", "KILL", "USER", "node"]).await;
    eventually("the links are made again", DEADLINE, async || {
        node.status("POST", &[]).await == 200 && node.broker.is_ready().await
    })
    .await;
    assert!(!node.broker.log().contains("WRONGPASS"), "{}", node.broker.log());
    assert!(stream.end().is_none());
}

#[tokio::test]
async fn broken_configuration_changes_nothing() {
    let secret = "[auth]\nmode = \"jwt\"\n[auth.jwt]\nalgorithm = \"HS256\"\nsecret_file = [\"FILE\"]\n";
    let directory = Directory::new();
    let file = directory.write("secret", SECRET).display().to_string();
    let good = format!("{}\n[limits]\nconnections_per_workspace = 1\n", secret.replace("FILE", &file));
    let node = Configured::start(&good).await;
    for broken in [
        "[limits]\nconnections_per_workspace = 2\nno_such_key = 1\n[ring]\nevents = 0\n".to_owned(),
        "[limits]\nconnections_per_workspace = 2\n[ring]\nevents = 0\nbytes = 0\n".to_owned(),
        "not TOML".to_owned(),
        // Only a look at the file shows this one.
        good.replace(&file, &format!("{file}-missing")).replace("workspace = 1", "workspace = 2"),
    ] {
        let log = node.reload(&broken, FAILED).await;
        assert_eq!(log.lines().filter(|line| line.contains("ERROR")).count(), 1, "{log}");
        assert!(!log.contains(DONE), "{log}");
    }
    std::fs::remove_file(&node.file).unwrap();
    node.broker.signal(Signal::SIGHUP);
    node.broker.logged("no such file").await;

    let header = bearer(&token("ann", &["acme"], 60, &json!({})));
    let headers = [("authorization", header.as_str())];
    let connect = Connect {
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..Connect::default()
    };
    let mut first = node.broker.connect_with("acme", connect).await;
    first.connected().await;
    assert_eq!(node.status("GET", &headers).await, 503, "the limit is still 1");
}

#[tokio::test]
async fn settings_that_need_a_restart_are_named_in_one_line() {
    let node = Configured::start("").await;
    let settings = "[sse]\nretry_ms = 700\n[limits]\nring_bytes = 2000000000\nconnections_per_user = 3\n\
                    [embedded]\npassword = \"a very secret password\"\n";
    for applied in ["applied=\"limits.connections_per_user\"", ""] {
        let log = node.reload(settings, "changed settings need a restart").await;
        let line = log.lines().find(|line| line.contains("need a restart")).unwrap();
        assert!(line.contains("embedded.password, sse.retry_ms, limits.ring_bytes"), "{line}");
        assert!(!line.contains("connections_per_user") && !log.contains("very secret"), "{log}");
        let line = log.lines().find(|line| line.contains(DONE)).unwrap();
        assert!(line.contains(applied) && (!applied.is_empty() || !line.contains("applied")), "{line}");
    }
    let log = node.reload("", DONE).await;
    assert!(!log.contains("need a restart"), "{log}");
}

/// A pipe without a writer never ends a plain read.
#[tokio::test]
async fn pipe_in_place_of_a_file_blocks_no_later_reload() {
    let directory = Directory::new();
    let pipe = directory.file("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut node = Configured::start("").await;
    let settings = format!("[admin]\ntoken_file = \"{}\"\n", pipe.display());
    let log = node.reload(&settings, FAILED).await;
    assert!(log.contains("not a regular file"), "{log}");
    std::fs::remove_file(&node.file).unwrap();
    std::fs::rename(&pipe, &node.file).unwrap();
    let before = node.broker.log().matches(FAILED).count();
    node.broker.signal(Signal::SIGHUP);
    eventually("it fails once more", DEADLINE, async || node.broker.log().matches(FAILED).count() > before)
        .await;
    std::fs::remove_file(&node.file).unwrap();
    let log = node.reload("[limits]\nconnections_per_user = 3\n", DONE).await;
    assert!(log.contains("limits.connections_per_user"), "{log}");
    assert_eq!(node.broker.terminate(DEADLINE).await, Some(0));
}

/// The passwords of Sentinels in addresses, and of the embedded bus, are those of the start.
#[tokio::test]
async fn passwords_that_need_a_restart_are_named() {
    let node = Configured::start("").await;
    let settings = "[embedded]\npassword = \"another very secret password\"\n";
    let log = node.reload(settings, "changed settings need a restart").await;
    assert!(log.contains("embedded.password") && !log.contains("very secret"), "{log}");

    let sentinels = |password: &str| {
        format!(
            "[redis]\nurl = \"redis://redis:6379\"\nconnect_timeout_seconds = 0.5\n\
             [redis.sentinel]\nnodes = [\"redis://:{password}@127.0.0.1:1\"]\nprimary = \"m\"\n"
        )
    };
    let directory = Directory::new();
    let file = directory.write("tidings.toml", sentinels("first-password"));
    let options = BrokerOptions::embedded().argument("--config").argument(file.to_str().unwrap());
    let (broker, _) = Broker::start_until(options, "listening").await;
    directory.write("tidings.toml", sentinels("second-password"));
    broker.signal(Signal::SIGHUP);
    let log = broker.logged("changed settings need a restart").await;
    assert!(log.contains("redis.sentinel.nodes") && !log.contains("-password"), "{log}");
}
