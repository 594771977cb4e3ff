//! A small limit of open files bounds connections, and takes nothing away from probes and from
//! publishing.

use std::process::Stdio;

use crate::support::broker::tidings_with_files;
use crate::support::raw::{RawConnection, head};
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually, http};

const EVENTS: &str = "/api/workspaces/acme/events";

/// Opens streams and holds them. Returns how many were connected and how many got a reconnect;
/// fails the test if one got neither.
async fn open_streams(broker: &Broker, count: usize) -> (Vec<RawConnection>, usize, usize) {
    let (mut held, mut greeted, mut refused) = (Vec::new(), 0, 0);
    for _ in 0..count {
        let mut client = RawConnection::open(broker.address()).await;
        client.send(head("GET", EVENTS, &[("Accept", "text/event-stream")])).await;
        // The name of an event precedes its data; the `connected` event has none.
        let is_refused = client.read_until("data: ").await.contains("tidings.reconnect");
        *(if is_refused { &mut refused } else { &mut greeted }) += 1;
        held.push(client);
    }
    (held, greeted, refused)
}

/// The admin listener and the Redis port serve new clients.
async fn check_the_rest_serves(broker: &Broker) {
    for target in ["/live", "/ready", "/metrics"] {
        assert_eq!(http::get(broker.admin(), target).await.status, 200, "{target}");
    }
    let mut redis = RawConnection::open(broker.embedded()).await;
    redis.send("*1\r\n$4\r\nPING\r\n").await;
    redis.read_until("PONG").await;
}

#[tokio::test]
async fn the_soft_limit_is_raised_to_the_hard_one() {
    let broker = Broker::start_ready(BrokerOptions::embedded().open_files(64, 1024)).await;
    let (_held, greeted, refused) = open_streams(&broker, 200).await;
    assert_eq!((greeted, refused), (200, 0));
    check_the_rest_serves(&broker).await;
}

#[tokio::test]
async fn streams_beyond_open_files_get_a_reconnect() {
    let options = BrokerOptions::embedded().open_files(256, 256).set("log.format", "json");
    let broker = Broker::start_ready(options).await;
    let log = broker.logged("raise the limit of open files").await;
    let line = log.lines().find(|line| line.contains("raise the limit of open files")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let room = usize::try_from(line["connections"].as_u64().unwrap()).unwrap();
    assert_eq!(line["files"], 256);
    assert!((50..200).contains(&room), "{line}");

    let (held, greeted, refused) = open_streams(&broker, 300).await;
    assert_eq!((greeted, refused), (room, 300 - room));
    // Connections that say nothing hold files too, until their head is overdue.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(RawConnection::open(broker.address()).await);
    }
    check_the_rest_serves(&broker).await;
    assert!(!broker.log().contains("cannot accept connections"), "{}", broker.log());
    drop((held, silent));
    eventually("there is room again", DEADLINE, async || open_streams(&broker, 1).await.1 == 1).await;
}

#[tokio::test]
async fn idle_connections_keep_no_probe_out() {
    let options = BrokerOptions::embedded().set("server.header_timeout_seconds", 600);
    let broker = Broker::start_ready(options).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(RawConnection::open(broker.admin()).await);
    }
    for target in ["/live", "/ready", "/metrics"] {
        assert_eq!(http::get(broker.admin(), target).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn check_says_how_many_files_are_needed() {
    for (files, settings, code, words) in [
        (256, &[][..], 1, "limits.connections"),
        (
            256,
            &[("TIDINGS__LIMITS__CONNECTIONS", "20"), ("TIDINGS__EMBEDDED__CLIENTS", "10")],
            1,
            "raise the limit to",
        ),
        (
            512,
            &[("TIDINGS__LIMITS__CONNECTIONS", "20"), ("TIDINGS__EMBEDDED__CLIENTS", "10")],
            1,
            "raise the limit to",
        ),
        (
            1024,
            &[("TIDINGS__LIMITS__CONNECTIONS", "20"), ("TIDINGS__EMBEDDED__CLIENTS", "10")],
            0,
            "a limit of 1024",
        ),
        (32, &[], 1, "allows no connections"),
    ] {
        let mut command = tidings_with_files(files, files);
        command.arg("check").envs(settings.iter().copied()).stdin(Stdio::null());
        let output = tokio::process::Command::from(command).output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains("open files: ") && text.contains(words), "{text}");
    }
}
