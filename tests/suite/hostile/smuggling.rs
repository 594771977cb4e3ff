//! Requests that two readers could part differently (RFC 9112, section 11.2): none is ever taken as
//! two.

use super::{MIB, Observer};
use crate::support::raw::{RawConnection, head};
use crate::support::{Broker, BrokerOptions, DEADLINE};

const TARGET: &str = "/api/workspaces/acme/events";

/// A request that would publish, if a server took it for one.
fn hidden() -> String {
    let body = "smuggled";
    format!(
        "POST /api/workspaces/hidden/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn answers(bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).matches("HTTP/1.1 ").count()
}

#[tokio::test]
async fn a_body_of_two_lengths_is_never_two_requests() {
    let options = BrokerOptions::embedded()
        .set("server.header_timeout_seconds", 1)
        .set("server.idle_timeout_seconds", 1);
    let broker = Broker::start(options.set("server.body_timeout_seconds", 1)).await;
    let observer = Observer::start(&broker).await;
    let mut victim = broker.connect("hidden").await;
    victim.connected().await;

    let hidden = hidden();
    let all = hidden.len();
    let chunk = format!("{all:x}\r\n{hidden}\r\n0\r\n\r\n");
    let ended = format!("0\r\n\r\n{hidden}");
    let request = |headers: &str, body: &str| {
        format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{body}")
    };
    let attacks = [
        // Both lengths, either way round.
        request("Content-Length: 5\r\nTransfer-Encoding: chunked", &ended),
        request("Transfer-Encoding: chunked\r\nContent-Length: 5", &ended),
        request(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked", ended.len()), &ended),
        // Two lengths of one kind.
        request(&format!("Content-Length: 0\r\nContent-Length: {all}"), &hidden),
        request(&format!("Content-Length: {all}\r\nContent-Length: 0"), &hidden),
        request(&format!("Content-Length: 0, {all}"), &hidden),
        // A length that some parsers reject.
        request("Content-Length: +0", &hidden),
        request("Content-Length: 0x0", &hidden),
        request("Content-Length: -0", &hidden),
        request("Content-Length: 0 0", &hidden),
        request("Content-Length : 0", &hidden),
        request("Content-Length\0: 0", &hidden),
        request(" Content-Length: 0", &hidden),
        request("X: y\r\n Content-Length: 0", &hidden),
        // A coding that some parsers miss.
        request("Transfer-Encoding: xchunked", &ended),
        request("Transfer-Encoding: chunked, identity", &ended),
        request("Transfer-Encoding: identity", &ended),
        request("Transfer-Encoding : chunked", &ended),
        request("Transfer-Encoding:\x0bchunked", &ended),
        request("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", &ended),
        request("Transfer-Encoding\r\n: chunked", &ended),
        // Chunks whose end is a matter of taste.
        request("Transfer-Encoding: chunked", &format!("0;{}\r\n\r\n", "x".repeat(100_000))),
        request("Transfer-Encoding: chunked", &format!("1;a=\"\n\r\nx\r\n{ended}")),
        request("Transfer-Encoding: chunked", &format!("0x0\r\n\r\n{hidden}")),
        request("Transfer-Encoding: chunked", &format!("+0\r\n\r\n{hidden}")),
        request("Transfer-Encoding: chunked", &format!("fffffffffffffffff\r\n{hidden}")),
        request("Transfer-Encoding: chunked", &format!("10000000000000000\r\n\r\n{hidden}")),
        request("Transfer-Encoding: chunked", &format!("1\r\nxy\r\n{ended}")),
        request("Transfer-Encoding: chunked", &format!("0\n\n{hidden}")),
        request("Transfer-Encoding: chunked", &format!("-1\r\n{chunk}")),
    ];
    for attack in &attacks {
        let mut connection = RawConnection::open(broker.address()).await;
        connection.send(attack).await;
        let answer = connection.closed(DEADLINE).await;
        let shown = String::from_utf8_lossy(&answer);
        let shown_attack = &attack[..attack.len().min(200)];
        assert!(answers(&answer) <= 1, "{shown_attack:?} is two requests: {shown}");
        assert!(answer.is_empty() || shown.starts_with("HTTP/1.1 4"), "{shown_attack:?}: {shown}");
    }
    broker.publish("hidden", "in the open").await;
    assert_eq!(victim.application_event().await.data, "in the open", "a hidden request was taken");
    observer.finish(&broker, 32 * MIB).await;
}

#[tokio::test]
async fn requests_behind_one_another_are_answered_in_order_and_bounded() {
    let broker = Broker::start(
        BrokerOptions::embedded()
            .set("server.header_timeout_seconds", 1)
            .set("server.idle_timeout_seconds", 1),
    )
    .await;
    let observer = Observer::start(&broker).await;
    let mut connection = RawConnection::open(broker.address()).await;
    let (put, lost) = (head("PUT", TARGET, &[]), head("GET", "/nowhere", &[]));
    connection.send([put.as_str(), &lost].concat().repeat(20)).await;
    let answers = String::from_utf8(connection.closed(DEADLINE).await).unwrap();
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["405", "404"].repeat(20));

    // Behind a stream there is no response, and further bytes are not kept without bound.
    let mut connection = RawConnection::open(broker.address()).await;
    connection.send(head("GET", TARGET, &[("Accept", "text/event-stream")])).await;
    let flood = put.repeat(1000);
    let flooding = async {
        for _ in 0..500 {
            connection.send(&flood).await;
        }
    };
    // The broker stops reading, or ends the connection; either is fine.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), flooding).await;
    observer.finish(&broker, 32 * MIB).await;
}
