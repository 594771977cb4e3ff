//! Clients behind proxies: the PROXY protocol, and what forwarded headers say.

use std::time::Duration;

use crate::support::proxies::{Kind, Proxy};
use crate::support::raw::{RawConnection, head};
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, SseClient, eventually, http};

const TARGET: &str = "/api/workspaces/acme/events";

/// A stream through a connection that begins with these bytes, and the address that the log has for
/// it.
async fn logged_address(broker: &Broker, header: &[u8]) -> String {
    let mut connection = RawConnection::open(broker.address()).await;
    connection.send(header).await;
    connection.send(head("GET", TARGET, &[("Accept", "text/event-stream")])).await;
    eventually("the stream is open", DEADLINE, async || broker.status().await["subscribers"] == 1).await;
    let before = broker.log().matches("stream ended").count();
    drop(connection);
    eventually("its end is logged", DEADLINE, async || broker.log().matches("stream ended").count() > before)
        .await;
    let log = broker.log();
    let line = log.lines().rfind(|line| line.contains("stream ended")).unwrap();
    let address = line.split("address=").nth(1).unwrap().split(' ').next().unwrap();
    address.to_owned()
}

fn version_2(command: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1]);
    header.extend([0x10, 0x00, 0x01, 0xbb]);
    header
}

/// A broker behind a proxy that sends PROXY headers.
fn with_headers() -> BrokerOptions {
    BrokerOptions::embedded()
        .set("server.proxy_protocol", true)
        .set("server.trusted_proxies", "127.0.0.1")
        .set("auth.mode", "none")
}

/// Without an address in its header, the sender can be any client of the proxy.
#[tokio::test]
async fn client_without_an_address_names_no_other() {
    let broker = Broker::start_ready(with_headers()).await;
    let forwarded = [("Origin", "https://live.example"), ("X-Forwarded-Host", "live.example")];
    for (header, expected) in [
        (&b"PROXY UNKNOWN\r\n"[..], "HTTP/1.1 403"),
        (&version_2(0x20), "HTTP/1.1 403"),
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 4096 443\r\n", "HTTP/1.1 200"),
    ] {
        let mut connection = RawConnection::open(broker.address()).await;
        connection.send(header).await;
        connection.send(head("POST", TARGET, &[forwarded[0], forwarded[1], ("Content-Length", "1")])).await;
        connection.send(b"x").await;
        let reply = connection.read_until("\r\n").await;
        assert!(reply.starts_with(expected), "{header:?}: {reply}");
    }
}

#[tokio::test]
async fn proxy_header_gives_the_client_address() {
    let broker = Broker::start_ready(with_headers()).await;
    let version_1 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4096 443\r\n";
    assert_eq!(logged_address(&broker, version_1).await, "[2001:db8::7]:4096");
    assert_eq!(logged_address(&broker, &version_2(0x21)).await, "192.0.2.7:4096");
    assert!(logged_address(&broker, &version_2(0x20)).await.starts_with("127.0.0.1:"), "LOCAL");
    assert!(logged_address(&broker, b"PROXY UNKNOWN\r\n").await.starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn a_proxy_header_is_believed_from_trusted_proxies_only() {
    let options = BrokerOptions::embedded()
        .set("server.proxy_protocol", true)
        .set("server.trusted_proxies", "192.0.2.0/24, 127.9.9.9")
        .set("auth.mode", "none");
    let broker = Broker::start_ready(options).await;
    assert!(logged_address(&broker, &version_2(0x21)).await.starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn connection_without_the_header_is_closed() {
    let options = with_headers().set("admin.proxy_protocol", false).set("server.header_timeout_seconds", 0.5);
    let broker = Broker::start_ready(options).await;
    let mut plain = RawConnection::open(broker.address()).await;
    plain.send(head("GET", TARGET, &[])).await;
    assert_eq!(plain.closed(DEADLINE).await, b"");
    // The default is 10 seconds.
    for partial in [&b""[..], b"PROXY TCP4 192.0.2", &version_2(0x21)[..20]] {
        let mut partial_header = RawConnection::open(broker.address()).await;
        partial_header.send(partial).await;
        assert_eq!(partial_header.closed(Duration::from_secs(9)).await, b"");
    }
}

#[tokio::test]
async fn scheme_and_host_come_from_a_trusted_proxy() {
    let forwarded = [
        ("Origin", "https://live.example"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "live.example"),
    ];
    let trusting =
        BrokerOptions::embedded().set("server.trusted_proxies", "127.0.0.0/8").set("auth.mode", "none");
    for (options, expected) in [(trusting, 200), (BrokerOptions::embedded().set("auth.mode", "none"), 403)] {
        let broker = Broker::start_ready(options).await;
        let answer = http::request(broker.address(), "POST", TARGET, &forwarded, "x").await;
        assert_eq!(answer.status, expected);
        // A proxy may name no client.
        let alone = [forwarded[0], forwarded[2], forwarded[3]];
        let answer = http::request(broker.address(), "POST", TARGET, &alone, "x").await;
        assert_eq!(answer.status, expected);
    }
    let options = BrokerOptions::embedded()
        .set("server.trusted_proxies", "127.0.0.1")
        .set("auth.mode", "none")
        .set("server.forwarded_header", "forwarded");
    let broker = Broker::start_ready(options).await;
    let answer = http::request(broker.address(), "POST", TARGET, &forwarded, "x").await;
    assert_eq!(answer.status, 403, "the other header is not believed");
    let forwarded =
        [("Origin", "https://live.example"), ("Forwarded", "for=203.0.113.7;proto=https;host=live.example")];
    let answer = http::request(broker.address(), "POST", TARGET, &forwarded, "x").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_real_proxy_speaks_http_2_and_names_its_clients() {
    // HAProxy notices that a client has left when it has something for it.
    let options = with_headers().set("sse.heartbeat_seconds", 0.3);
    let broker = Broker::start_ready(options).await;
    let speak = [(
        "default-server check",
        "default-server proto h2 send-proxy-v2 check check-proto h1 no-check-send-proxy",
    )];
    let proxy = Proxy::start(Kind::HaProxy, [&broker, &broker], &speak).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = SseClient::connect(proxy.address(), "acme", Connect::default()).await;
        assert_eq!(client.status(), 200);
        client.connected().await;
        clients.push(client);
    }
    let answer = http::request(proxy.address(), "POST", TARGET, &[], "by HTTP/2").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for client in &mut clients {
        assert_eq!(client.application_event().await.data, "by HTTP/2");
    }
    let address = clients[0].local_address().to_string();
    drop(clients);
    eventually("the log has the client", DEADLINE, async || broker.log().contains(&address)).await;
}
