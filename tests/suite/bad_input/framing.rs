//! The host of a request, and the framing of its body.

use super::{broker, check_problem};
use crate::support::http;
use crate::support::raw::RawConnection;
use crate::support::{Broker, BrokerOptions, DEADLINE};

const TARGET: &str = "/api/workspaces/acme/events";

#[tokio::test]
async fn transfer_codings_beside_one_chunked_are_refused() {
    let broker = broker().await;
    let mut victim = broker.connect("acme").await;
    victim.connected().await;
    let body = "5\r\nhello\r\n0\r\n\r\n";
    for (lines, status, kind) in [
        ("Transfer-Encoding: gzip, chunked\r\n", 501, "unknown-transfer-coding"),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501, "unknown-transfer-coding"),
        ("Transfer-Encoding: identity, chunked\r\n", 501, "unknown-transfer-coding"),
        ("Transfer-Encoding: chunked, chunked\r\n", 400, "bad-transfer-encoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: CHUNKED\r\n", 400, "bad-transfer-encoding"),
    ] {
        for target in [TARGET, "/api/tickets", "/nowhere"] {
            let mut connection = RawConnection::open(broker.address()).await;
            let request = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n{body}");
            let response = connection.exchange(request).await;
            check_problem(&response, status, kind);
            assert_eq!(response.header("connection"), "close");
            connection.closed(DEADLINE).await;
        }
    }
    for line in ["Transfer-Encoding: chunked", "Transfer-Encoding: Chunked", "Transfer-Encoding: , chunked"] {
        let mut connection = RawConnection::open(broker.address()).await;
        let request = format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n{body}");
        assert_eq!(connection.exchange(request).await.status, 200, "{line}");
        assert_eq!(victim.application_event().await.data, "hello");
    }
}

#[tokio::test]
async fn compressed_body_is_an_unsupported_media_type() {
    let broker = broker().await;
    for target in [TARGET, "/api/tickets"] {
        for coding in ["gzip", "br", "identity, gzip", "x"] {
            let headers = [("Content-Encoding", coding)];
            let response = http::request(broker.address(), "POST", target, &headers, "x").await;
            check_problem(&response, 415, "unsupported-content-encoding");
            assert_eq!(response.header("accept-encoding"), "identity");
        }
    }
    let headers = [("Content-Encoding", "identity")];
    assert_eq!(http::request(broker.address(), "POST", TARGET, &headers, "x").await.status, 200);
}

/// For every client, and on either listener.
#[tokio::test]
async fn request_names_exactly_one_well_formed_host() {
    let local = broker().await;
    let open = Broker::start(BrokerOptions::embedded().set("auth.mode", "none")).await;
    for broker in [&local, &open] {
        for (address, target) in [(broker.address(), "/nowhere"), (broker.admin(), "/live")] {
            let exchange = async |version: &str, target: &str, lines: &str| {
                let mut connection = RawConnection::open(address).await;
                connection.exchange(format!("GET {target} HTTP/{version}\r\n{lines}\r\n")).await
            };
            let served = exchange("1.1", target, "Host: localhost\r\n").await.status;
            assert!(served == 200 || served == 404, "{served}");
            for lines in [
                "",
                "Host:\r\n",
                "Host: localhost\r\nHost: localhost\r\n",
                "Host: evil.example\r\nHost: localhost\r\n",
                "Host: localhost\r\nHost: evil.example\r\n",
                "Host: [::1].evil.example\r\n",
                "Host: evil.example@localhost\r\n",
                "Host: localhost@evil.example\r\n",
                "Host: localhost:80:80\r\n",
                "Host: localhost, evil.example\r\n",
            ] {
                check_problem(&exchange("1.1", target, lines).await, 400, "bad-host");
                let absolute = format!("http://localhost{target}");
                check_problem(&exchange("1.1", &absolute, lines).await, 400, "bad-host");
            }
            // Browsers speak a later version; old probes name no host.
            assert_eq!(exchange("1.0", target, "").await.status, served);
        }
    }
}

#[tokio::test]
async fn no_answer_lets_a_browser_guess_its_type() {
    let broker = broker().await;
    let requests =
        [("GET", "/nowhere"), ("PUT", TARGET), ("OPTIONS", TARGET), ("POST", TARGET), ("HEAD", TARGET)];
    for (method, target) in requests {
        let response = http::request(broker.address(), method, target, &[], "x").await;
        assert_eq!(response.header("x-content-type-options"), "nosniff", "{method} {target}");
    }
    assert_eq!(broker.connect("acme").await.header("x-content-type-options"), "nosniff");
    for target in ["/live", "/status", "/metrics", "/nowhere"] {
        let response = http::get(broker.admin(), target).await;
        assert_eq!(response.header("x-content-type-options"), "nosniff", "{target}");
    }
    // Also where the request is refused before its path is looked at.
    let mut connection = RawConnection::open(broker.address()).await;
    let response = connection.exchange("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!((response.status.as_u16(), response.header("x-content-type-options")), (400, "nosniff"));
}
