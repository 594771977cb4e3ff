//! Ids and types that are more than that, in paths, queries and headers.

use super::{MIB, Observer};
use crate::support::raw::{RawConnection, head};
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, http};

const TARGET: &str = "/api/workspaces/acme/events";
const STREAM: (&str, &str) = ("Accept", "text/event-stream");

async fn broker() -> Broker {
    Broker::start(
        BrokerOptions::embedded()
            .set("server.header_timeout_seconds", 1)
            .set("server.idle_timeout_seconds", 1),
    )
    .await
}

#[tokio::test]
async fn a_target_in_absolute_form_is_the_path_in_it() {
    let broker = broker().await;
    let host = broker.address().to_string();
    let absolute = format!("http://{host}{TARGET}");
    let response = http::request(broker.address(), "PUT", TARGET, &[], "").await;
    let mut connection = RawConnection::open(broker.address()).await;
    assert_eq!(connection.exchange(head("PUT", &absolute, &[])).await.status, response.status);
    // The name in the target has priority over the header (RFC 9112, section 3.2.2), and both are
    // checked.
    for target in ["http://evil.example", "http://evil.example:80", "http://user@evil.example", "http://"] {
        let mut connection = RawConnection::open(broker.address()).await;
        connection.send(head("GET", &format!("{target}{TARGET}"), &[STREAM, ("Connection", "close")])).await;
        let answer = String::from_utf8_lossy(&connection.closed(DEADLINE).await).into_owned();
        assert!(answer.starts_with("HTTP/1.1 4"), "{target}: {answer}");
    }
}

#[tokio::test]
async fn control_characters_are_refused_or_harmless_wherever_they_stand() {
    let broker = broker().await;
    let observer = Observer::start(&broker).await;
    // As they are: no such byte belongs into a head.
    for byte in [&b"\0"[..], b"\r", b"\n", b"\x0b", b"\x7f", b"\xff", b"\r\nX: y\r\n\r"] {
        let places: [(&[u8], &[u8]); 4] = [
            (b"GET /api/workspaces/a", b"b/events HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            (b"GET /api/workspaces/acme/events?types=A", b" HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            (b"GET /api/workspaces/acme/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nLast-Event-ID: 5", b"-1\r\n\r\n"),
            (b"PUT /api/workspaces/acme/events HTTP/1.1\r\nHost: local", b"host\r\n\r\n"),
        ];
        for (before, behind) in places {
            let mut connection = RawConnection::open(broker.address()).await;
            connection.send([before, byte, behind].concat()).await;
            let answer = connection.closed(DEADLINE).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{byte:?}: {answer}");
        }
    }
    // Escaped: a position appears in the response, and never as a line of its own.
    for id in [
        "5-1%0Adata:%20injected",
        "5-1%0D%0A%0D%0Adata:%20injected",
        "%00",
        "5-1%00",
        "%C2%85data:x",
        "%E2%80%A8",
    ] {
        for query in [format!("last_event_id={id}"), format!("types=A{id}"), format!("named=1&types={id}")] {
            let mut client = broker.connect_with("acme", Connect::query(&query)).await;
            client.connected().await;
            let body = String::from_utf8(client.body()).unwrap();
            let is_ours = |line: &str| {
                ["", "id: ", "data: {", "event: tidings.", "retry: "]
                    .iter()
                    .any(|start| if start.is_empty() { line.is_empty() } else { line.starts_with(start) })
            };
            assert!(body.split(['\n', '\r']).all(is_ours) && !body.contains('\0'), "{query}: {body:?}");
        }
    }
    observer.finish(&broker, 32 * MIB).await;
}

#[tokio::test]
async fn too_long_ids_are_rejected() {
    let broker = broker().await;
    let observer = Observer::start(&broker).await;
    let long = |count| "x".repeat(count);
    for (target, headers, status) in [
        (format!("/api/workspaces/{}/events", long(129)), vec![], 400),
        (format!("/api/workspaces/{}/events", "%78".repeat(129)), vec![], 400),
        (format!("/api/workspaces/{}/events", long(15_000)), vec![], 400),
        (format!("{TARGET}?types={}", long(257)), vec![], 400),
        (format!("{TARGET}?types={}", ["x"; 65].join(",")), vec![], 400),
        (format!("{TARGET}?since={}", "9".repeat(5000)), vec![], 400),
        (format!("{TARGET}?last={}", "9".repeat(5000)), vec![], 400),
        (format!("{TARGET}?{}", "a=b&".repeat(5000)), vec![], 431),
        (format!("/{}", "a/".repeat(7000)), vec![], 404),
        (TARGET.to_owned(), vec![("Last-Event-ID", long(17_000))], 431),
        (TARGET.to_owned(), vec![("Cookie", long(60_000))], 431),
        (TARGET.to_owned(), vec![("Accept", format!("{}text/html", "a/b,".repeat(3000)))], 406),
    ] {
        let headers: Vec<_> =
            headers.iter().map(|(name, value): &(_, String)| (*name, value.as_str())).collect();
        let answer =
            RawConnection::open(broker.address()).await.exchange(head("GET", &target, &headers)).await;
        assert_eq!(answer.status, status, "{} {}", &target[..target.len().min(60)], answer.text());
    }
    // A position that is too long is none, and the response has a part of it.
    let mut client = broker.connect_with("acme", Connect::after(&long(10_000))).await;
    assert!(client.event_named("tidings.reset").await.data.len() < 500);
    for key in [long(10_000), "\u{7f}".to_owned(), String::new()] {
        let headers = [("idempotency-key", key.as_str())];
        if let Ok(answer) = http::try_request(broker.address(), "POST", TARGET, &headers, "x").await {
            assert_eq!(answer.status, 400, "{key:?}: {}", answer.text());
        }
    }
    observer.finish(&broker, 32 * MIB).await;
}
