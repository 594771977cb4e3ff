//! Paths, methods and queries.

use super::{broker, check_problem};
use crate::support::http;
use crate::support::raw::{RawConnection, head};
use crate::support::{Broker, BrokerOptions, Bus, Connect, DEADLINE, TestCluster, eventually};

#[tokio::test]
async fn a_bad_workspace_id_is_refused() {
    let broker = broker().await;
    let long = "x".repeat(129);
    let ids = [
        "a%20b", "a+b", "a:b", "a*", "a,b", "a%2Fb", "a%00", "a%0Ab", "%C3%A4", "%FF", "%", "%zz", "a%2525",
        "'a'", &long,
    ];
    for id in ids {
        let target = format!("/api/workspaces/{id}/events");
        for method in ["GET", "POST"] {
            let response = http::request(broker.address(), method, &target, &[], "x").await;
            check_problem(&response, 400, "bad-workspace");
        }
    }
}

#[tokio::test]
async fn a_workspace_id_may_be_written_with_escapes() {
    let cluster = TestCluster::start(Bus::Redis).await;
    let longest = "x".repeat(128);
    for (written, id) in
        [("%61cm%65", "acme"), ("a.b_c~d-9", "a.b_c~d-9"), ("a%7Eb", "a~b"), (&longest, &longest)]
    {
        let mut client = cluster.broker.connect(written).await;
        assert_eq!(client.connected().await.json()["workspaceId"], id);
        cluster.publish_live(id, "for it").await;
        assert_eq!(client.application_event().await.data, "for it");
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let broker = broker().await;
    let targets = [
        "/",
        "/api",
        "/api/workspaces",
        "/api/workspaces/acme",
        "/api/workspaces/acme/event",
        "/api/workspaces/acme/events/1",
        "/api/workspaces/acme/events/",
        "/api/workspaces/acme/events/?types=A",
        "/api/tickets/",
        "/api/workspaces//events",
        "/api//workspaces/acme/events",
        "/API/workspaces/acme/events",
        "/workspaces/acme/events",
        "//api/workspaces/acme/events",
        "/favicon.ico",
        "/../etc/passwd",
    ];
    for target in targets {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let response = http::request(broker.address(), method, target, &[], "").await;
            check_problem(&response, 404, "not-found");
            assert!(response.text().contains("/api/workspaces/{workspace}/events"), "{}", response.text());
        }
    }
    // What is for operators is not on the public listener, and the other way round.
    for target in ["/live", "/ready", "/status", "/metrics", "/openapi.json"] {
        check_problem(&http::get(broker.address(), target).await, 404, "not-found");
    }
    for target in [
        "/console",
        "/console/x.js",
        "/api/workspaces/acme/events",
        "/live/x",
        "/live/",
        "/metrics/",
        "/metric",
    ] {
        check_problem(&http::get(broker.admin(), target).await, 404, "not-found");
    }
}

#[tokio::test]
async fn wrong_method_gets_the_allowed_ones() {
    let broker = broker().await;
    let bad_id = "/api/workspaces/a%20b/events";
    for target in ["/api/workspaces/acme/events", "/api/workspaces/acme/events?types=", bad_id] {
        for method in ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"] {
            let response = http::request(broker.address(), method, target, &[], "").await;
            check_problem(&response, 405, "method-not-allowed");
            assert_eq!(response.header("allow"), "GET, HEAD, POST, OPTIONS");
        }
    }
    for target in ["/live", "/ready", "/status", "/metrics"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let response = http::request(broker.admin(), method, target, &[], "").await;
            check_problem(&response, 405, "method-not-allowed");
            assert_eq!(response.header("allow"), "GET, HEAD");
        }
    }
}

#[tokio::test]
async fn head_has_the_head_of_a_stream_and_opens_none() {
    let broker = broker().await;
    let target = "/api/workspaces/acme/events";
    let client = broker.connect("acme").await;
    eventually("the stream is open", DEADLINE, async || broker.status().await["subscribers"] == 1).await;
    let response = http::request(broker.address(), "HEAD", target, &[], "").await;
    assert_eq!(response.status, 200);
    for name in ["content-type", "cache-control", "x-accel-buffering", "x-content-type-options"] {
        assert_eq!(response.header(name), client.header(name), "{name}");
    }
    assert!(response.body.is_empty());
    assert_eq!(broker.status().await["subscribers"], 1);
    // The connection goes on.
    let mut connection = RawConnection::open(broker.address()).await;
    connection.send(head("HEAD", target, &[])).await;
    let answer = connection.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(connection.exchange(head("PUT", target, &[])).await.status, 405);

    for (target, status) in [
        ("/api/workspaces/a%20b/events", 400),
        ("/api/workspaces/acme/events?types=", 400),
        ("/api/tickets", 405),
        ("/nowhere", 404),
    ] {
        let response = http::request(broker.address(), "HEAD", target, &[], "").await;
        assert_eq!((response.status.as_u16(), response.body.len()), (status, 0), "{target}");
    }
    let html = [("Accept", "text/html")];
    assert_eq!(http::request(broker.address(), "HEAD", target, &html, "").await.status, 406);
}

#[tokio::test]
async fn a_bad_query_value_is_refused() {
    let broker = broker().await;
    let many = format!("types={}", ["A"; 65].join(","));
    let long = format!("types={}", "A".repeat(257));
    let queries = [
        ("types=", "types"),
        ("types", "types"),
        ("types=A,", "types"),
        ("types=A,,B", "types"),
        ("types=A&types=B", "types"),
        ("named=yes", "named"),
        ("named=", "named"),
        ("errors=1", "errors"),
        ("named=1&errors=", "errors"),
        (&many, "types"),
        (&long, "types"),
    ];
    for (query, parameter) in queries {
        let client = broker.connect_with("acme", Connect::query(query)).await;
        assert_eq!(client.status(), 400, "{query}");
        let response = http::get(broker.address(), &format!("/api/workspaces/acme/events?{query}")).await;
        check_problem(&response, 400, "bad-query");
        let detail = response.json()["detail"].to_string();
        assert!(detail.contains(&format!("`{parameter}`")), "{query}: {detail}");
    }
}

#[tokio::test]
async fn parameters_of_others_are_left_alone() {
    let broker = broker().await;
    for query in ["", "_=1732300000000", "a=b&c", "&&&", "%00=%FF", "=", "Types=", "%zz"] {
        let client = broker.connect_with("acme", Connect::query(query)).await;
        assert_eq!(client.status(), 200, "{query}");
    }
}

#[tokio::test]
async fn targets_that_are_no_paths_are_not_found() {
    let broker = broker().await;
    let absolute = format!("http://{}/nowhere", broker.address());
    for (method, target) in [("OPTIONS", "*"), ("CONNECT", "localhost:443"), ("GET", &absolute)] {
        let mut connection = RawConnection::open(broker.address()).await;
        let response = connection.exchange(head(method, target, &[])).await;
        check_problem(&response, 404, "not-found");
    }
}

/// A page whose own name was made to lead to this machine (DNS rebinding).
#[tokio::test]
async fn foreign_host_needs_a_setting() {
    let local = broker().await;
    let open = Broker::start(BrokerOptions::embedded().set("auth.mode", "none")).await;
    for (broker, refused) in [(&local, true), (&open, false)] {
        for (method, body) in [("GET", ""), ("POST", "{}")] {
            let headers = [("host", "evil.example:8080"), ("accept", "text/html")];
            let response =
                http::request(broker.address(), method, "/api/workspaces/acme/events", &headers, body).await;
            let expected = match (refused, method) {
                (true, _) => 421,
                (false, "GET") => 406,
                (false, _) => 200,
            };
            assert_eq!(response.status, expected, "{method}: {:?}", response.body);
        }
        let response = http::request(broker.admin(), "GET", "/status", &[("host", "evil.example")], "").await;
        check_problem(&response, 421, "unknown-host");
    }
}
