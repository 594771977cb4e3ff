//! Listeners on sockets in the file system.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::commands::{RunningCommand, run_tidings};
use crate::support::directory::Directory;
use crate::support::nginx_host::NginxHost;
use crate::support::raw::{RawConnection, head};
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually};

const TARGET: &str = "/api/workspaces/acme/events";

/// The rounds of nodes that start at a time, and the nodes of a round.
const ROUNDS: usize = 4;
const NODES: usize = 6;

fn place() -> (Directory, PathBuf, BrokerOptions) {
    let directory = Directory::new();
    let path = directory.file("http.sock");
    let options = BrokerOptions::embedded()
        .set("server.listen", format!("unix:{}", path.display()))
        .set("server.drain_delay_seconds", 0)
        .set("server.drain_seconds", 0);
    (directory, path, options)
}

async fn open_stream(path: &std::path::Path) -> RawConnection {
    let mut stream = RawConnection::open_unix(path).await;
    stream.send(head("GET", TARGET, &[("Accept", "text/event-stream")])).await;
    stream.read_until("\"connected\"").await;
    stream
}

#[tokio::test]
async fn socket_serves_publications_and_streams_of_both_writers() {
    for (writer, handed_off) in [("handoff", 1.0), ("body", 0.0)] {
        let (_directory, path, options) = place();
        let mut broker = Broker::start_ready(options.set("delivery.writer", writer)).await;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let mut stream = open_stream(&path).await;
        let mut publisher = RawConnection::open_unix(&path).await;
        let request = head("POST", TARGET, &[("Content-Length", "7")]) + "\"event\"";
        assert_eq!(publisher.exchange(request).await.status, 200);
        stream.read_until("data: \"event\"").await;
        assert_eq!(broker.metric("tidings_connections_handed_off").await, Some(handed_off), "{writer}");

        broker.signal(nix::sys::signal::Signal::SIGTERM);
        stream.read_until("tidings.reconnect").await;
        assert_eq!(broker.ended(DEADLINE).await.code(), Some(0));
        assert!(!path.exists(), "the file ends with the node");
    }
}

#[tokio::test]
async fn killed_node_leaves_a_file_that_the_next_one_replaces() {
    let (_directory, path, options) = place();
    let mut broker = Broker::start_ready(options.clone()).await;
    broker.kill();
    assert!(path.exists());
    broker.restart().await;
    open_stream(&path).await;

    let (mut second, log) = Broker::start_until(options, "tidings: ").await;
    assert!(log.contains("(server.listen)") && log.contains("in use"), "{log}");
    assert_eq!(second.ended(DEADLINE).await.code(), Some(1));
    open_stream(&path).await;
}

/// Each round begins with the file of a node that was killed, which all of them may replace.
#[tokio::test]
async fn one_of_several_nodes_gets_the_socket() {
    let directory = Directory::new();
    let path = directory.file("http.sock");
    let listen = format!("unix:{}", path.display());
    let settings = [("server.listen", &*listen), ("admin.listen", "127.0.0.1:0"), ("embedded.listen", "")];
    for round in 0..ROUNDS {
        let _ = std::fs::remove_file(&path);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let mut nodes: Vec<_> = (0..NODES).map(|_| RunningCommand::tidings(&["serve"], &settings)).collect();
        eventually("all but one have ended", DEADLINE, async || {
            nodes.iter_mut().map(RunningCommand::has_ended).filter(|has_ended| !has_ended).count() <= 1
        })
        .await;
        let mut alive = 0;
        for mut node in nodes {
            if !node.has_ended() {
                node.said("listening", 1).await;
                alive += 1;
                continue;
            }
            let told = node.finished().await.failure(1);
            assert!(told.contains("(server.listen)") && told.contains("in use"), "{told}");
        }
        assert_eq!(alive, 1, "in round {round}");
    }
}

#[tokio::test]
async fn client_address_comes_from_the_proxy() {
    let (_directory, path, options) = place();
    let broker = Broker::start_ready(
        options
            .clone()
            .set("server.trusted_proxies", "127.0.0.1")
            .set("auth.mode", "none")
            .set("log.level", "debug"),
    )
    .await;
    let mut stream = RawConnection::open_unix(&path).await;
    let forwarded = [("Accept", "text/event-stream"), ("X-Forwarded-For", "203.0.113.7")];
    stream.send(head("GET", TARGET, &forwarded)).await;
    stream.read_until("\"connected\"").await;
    drop(stream);
    let log = broker.logged("stream ended").await;
    let line = log.lines().rfind(|line| line.contains("stream ended")).unwrap();
    assert!(line.contains("203.0.113.7"), "{line}");

    let (_directory, path, options) = place();
    let options = options
        .set("server.proxy_protocol", true)
        .set("server.trusted_proxies", "127.0.0.1")
        .set("auth.mode", "none");
    let broker = Broker::start_ready(options).await;
    let mut stream = RawConnection::open_unix(&path).await;
    stream.send(b"PROXY TCP4 192.0.2.9 192.0.2.1 4096 443\r\n").await;
    stream.send(head("GET", TARGET, &[("Accept", "text/event-stream")])).await;
    stream.read_until("\"connected\"").await;
    drop(stream);
    let log = broker.logged("stream ended").await;
    let line = log.lines().rfind(|line| line.contains("stream ended")).unwrap();
    assert!(line.contains("192.0.2.9:4096"), "{line}");
}

#[tokio::test]
async fn nginx_reaches_the_node_by_its_socket() {
    let (_directory, path, options) = place();
    let options = options.set("server.trusted_proxies", "127.0.0.1").set("auth.mode", "none");
    let broker = Broker::start_ready(options).await;
    let nginx = NginxHost::start_unix(&path).await;
    let stream = nginx.open(TARGET);
    eventually("the stream is open", DEADLINE, async || stream.log().contains("\"connected\"")).await;
    let answer = nginx.request("POST", TARGET).await;
    assert!(answer.starts_with("HTTP/2 200"), "{answer}");
    eventually("the event arrives", DEADLINE, async || stream.log().contains("data: {}")).await;
    assert_eq!(broker.status().await["subscribers"], 1);
}

#[tokio::test]
async fn health_check_uses_the_socket_of_the_admin_listener() {
    let directory = Directory::new();
    let address = format!("unix:{}", directory.file("admin.sock").display());
    let options = BrokerOptions::embedded().set("admin.listen", &address);
    let (_broker, _) = Broker::start_until(options, "listening").await;
    run_tidings(&["check", "--health"], &[("admin.listen", &address)]).await.success();
    let elsewhere = format!("unix:{}", directory.file("none.sock").display());
    let error = run_tidings(&["check", "--health"], &[("admin.listen", &elsewhere)]).await.failure(1);
    assert!(error.contains(&elsewhere), "{error}");
}

#[tokio::test]
async fn command_that_needs_a_url_reports_the_socket() {
    let listen = [("server.listen", "unix:/run/tidings/http.sock")];
    let error = run_tidings(&["publish", "acme", "{}"], &listen).await.failure(2);
    assert!(error.contains("unix:/run/tidings/http.sock") && error.contains("--url"), "{error}");
}
