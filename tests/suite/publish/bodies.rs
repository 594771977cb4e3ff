//! Bodies that are not an event.

use super::EVENTS;
use crate::support::http::{self, Response};
use crate::support::raw::{RawConnection, head};
use crate::support::test_cluster::on_both_buses;
use crate::support::{Bus, DEADLINE, TestCluster};

on_both_buses!(
    a_body_that_is_too_large_is_refused,
    empty_body_or_wrong_utf8_is_rejected,
    a_body_that_does_not_arrive_is_not_waited_for,
    a_body_that_breaks_off_is_not_published,
);

const LIMIT: (&str, &str) = ("limits.event_bytes", "1000");

fn check_problem(response: &Response, status: u16, kind: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), "application/problem+json");
    assert_eq!(response.json()["type"], format!("urn:tidings:problem:{kind}"));
}

/// Checks that nothing was published, by publishing something.
async fn check_nothing_was_published(cluster: &TestCluster, client: &mut crate::support::SseClient) {
    cluster.broker.publish("acme", "the first event").await;
    assert_eq!(client.next_event(DEADLINE).await.data, "the first event");
}

/// A body in chunks of 100 bytes, without its end.
fn chunks(bytes: usize) -> String {
    format!("64\r\n{}\r\n", "x".repeat(100)).repeat(bytes / 100)
}

async fn a_body_that_is_too_large_is_refused(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[LIMIT]).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let open = async || RawConnection::open(cluster.broker.address()).await;
    let chunked = head("POST", EVENTS, &[("Transfer-Encoding", "chunked")]);

    let response = http::request(cluster.broker.address(), "POST", EVENTS, &[], "x".repeat(1001)).await;
    check_problem(&response, 413, "event-too-large");
    assert!(response.text().contains("1000 bytes (limits.event_bytes)"), "{}", response.text());
    // Refused for what it announces, before a byte of the body is there.
    for expect in [&[][..], &[("Expect", "100-continue")]] {
        let headers = [&[("Content-Length", "1000000000")][..], expect].concat();
        let response = open().await.exchange(head("POST", EVENTS, &headers)).await;
        check_problem(&response, 413, "event-too-large");
    }
    // Refused as soon as there is too much of it, without waiting for its end.
    let response = open().await.exchange(format!("{chunked}{}", chunks(1100))).await;
    check_problem(&response, 413, "event-too-large");
    check_nothing_was_published(&cluster, &mut client).await;

    // The limit itself is not too large.
    let response = http::request(cluster.broker.address(), "POST", EVENTS, &[], "y".repeat(1000)).await;
    assert_eq!(response.status, 200);
    let response = open().await.exchange(format!("{chunked}{}0\r\n\r\n", chunks(1000))).await;
    assert_eq!(response.status, 200);
    for expected in ["y", "x"] {
        assert_eq!(client.next_event(DEADLINE).await.data, expected.repeat(1000));
    }
}

async fn empty_body_or_wrong_utf8_is_rejected(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let post =
        async |body: &'static [u8]| http::request(cluster.broker.address(), "POST", EVENTS, &[], body).await;
    check_problem(&post(b"").await, 400, "empty-event");
    check_problem(&post(b"caf\xe9").await, 400, "not-utf8");
    check_problem(&post(b"cut \xf0\x9f\x8e").await, 400, "not-utf8");
    let mut connection = RawConnection::open(cluster.broker.address()).await;
    check_problem(&connection.exchange(head("POST", EVENTS, &[])).await, 400, "empty-event");
    check_nothing_was_published(&cluster, &mut client).await;
}

async fn a_body_that_does_not_arrive_is_not_waited_for(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("server.body_timeout_seconds", "0.3")]).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let mut connection = RawConnection::open(cluster.broker.address()).await;
    let request = head("POST", EVENTS, &[("Content-Length", "10")]);
    let response = connection.exchange(format!("{request}short")).await;
    check_problem(&response, 408, "body-timeout");
    // What else would come on this connection is not a request.
    connection.closed(DEADLINE).await;
    check_nothing_was_published(&cluster, &mut client).await;
}

async fn a_body_that_breaks_off_is_not_published(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    for request in [
        format!("{}short", head("POST", EVENTS, &[("Content-Length", "10")])),
        format!("{}{}", head("POST", EVENTS, &[("Transfer-Encoding", "chunked")]), chunks(200)),
    ] {
        let mut connection = RawConnection::open(cluster.broker.address()).await;
        connection.send(request).await;
        drop(connection);
    }
    let mut connection = RawConnection::open(cluster.broker.address()).await;
    let garbage = head("POST", EVENTS, &[("Transfer-Encoding", "chunked")]);
    check_problem(&connection.exchange(format!("{garbage}zz\r\nxx\r\n")).await, 400, "broken-body");
    crate::support::eventually("the connections are gone", DEADLINE, async || {
        cluster.broker.status().await["connections"] == 1
    })
    .await;
    check_nothing_was_published(&cluster, &mut client).await;
}
