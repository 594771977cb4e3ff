//! Pages of other origins (Fetch standard, "CORS protocol"), and OPTIONS.

use super::{broker, check_problem};
use crate::support::http::{self, Response};
use crate::support::{Broker, BrokerOptions, Connect};

const TARGET: &str = "/api/workspaces/acme/events";

async fn preflight(broker: &Broker, origin: &str, method: &str) -> Response {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "last-event-id, cache-control"),
    ];
    http::request(broker.address(), "OPTIONS", TARGET, &headers, "").await
}

fn allowed_origin(response: &Response) -> Option<&str> {
    response.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn options_lists_the_methods_of_a_path() {
    let broker = broker().await;
    let response = http::request(broker.address(), "OPTIONS", TARGET, &[], "").await;
    assert_eq!(response.status, 204);
    assert_eq!(response.header("allow"), "GET, HEAD, POST, OPTIONS");
    assert!(response.body.is_empty());
}

#[tokio::test]
async fn no_origin_is_allowed_by_default() {
    let broker = broker().await;
    for method in ["GET", "POST"] {
        let response = preflight(&broker, "https://app.example", method).await;
        assert_eq!(allowed_origin(&response), None);
    }
    let client =
        broker.connect_with("acme", Connect::default().header("Origin", "https://app.example")).await;
    // The page cannot read it; other clients, which may send what they like, lose nothing.
    assert_eq!(client.status(), 200);
    assert!(!client.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn configured_origins_are_allowed() {
    let options = BrokerOptions::embedded().set("cors.origins", "https://app.example,http://localhost:3000");
    let broker = Broker::start(options).await;
    for origin in ["https://app.example", "http://localhost:3000"] {
        let response = preflight(&broker, origin, "POST").await;
        assert_eq!(response.status, 204);
        assert_eq!(allowed_origin(&response), Some(origin));
        assert_eq!(response.header("access-control-allow-credentials"), "true");
        assert_eq!(response.header("access-control-allow-methods"), "GET, HEAD, POST, OPTIONS");
        let headers = response.header("access-control-allow-headers");
        for header in [
            "last-event-id",
            "cache-control",
            "content-type",
            "authorization",
            "idempotency-key",
            "traceparent",
            "tracestate",
            "baggage",
            "x-requested-with",
        ] {
            assert!(headers.split(", ").any(|allowed| allowed == header), "{headers}");
        }
        assert_eq!(response.header("access-control-max-age"), "7200");
        assert_eq!(response.header("vary"), "Origin");

        let client = broker.connect_with("acme", Connect::default().header("Origin", origin)).await;
        assert_eq!(client.header("access-control-allow-origin"), origin);
        assert_eq!(client.header("access-control-allow-credentials"), "true");
        assert_eq!(client.header("vary"), "Origin");
    }
    for origin in ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"] {
        let response = preflight(&broker, origin, "GET").await;
        assert_eq!(allowed_origin(&response), None, "{origin}");
        assert_eq!(response.header("vary"), "Origin");
    }
    // A cache must not give the response for one origin to another, so every response has `Vary`.
    let client = broker.connect("acme").await;
    assert_eq!(client.header("vary"), "Origin");
}

#[tokio::test]
async fn pages_set_the_headers_that_the_configuration_names() {
    let options = BrokerOptions::embedded().set("cors.origins", "https://app.example");
    let options =
        options.set("cors.headers", "Sentry-Trace").set("auth.forward.headers", "X-Api-Key,X-Tenant");
    let broker = Broker::start(options).await;
    for target in [TARGET, "/api/tickets"] {
        let headers = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "POST")];
        let response = http::request(broker.address(), "OPTIONS", target, &headers, "").await;
        let allowed = response.header("access-control-allow-headers");
        for header in ["sentry-trace", "x-api-key", "x-tenant", "authorization"] {
            assert!(allowed.split(", ").any(|name| name == header), "{header}: {allowed}");
        }
    }
}

#[tokio::test]
async fn pages_read_when_to_come_back_and_how_to_authenticate() {
    for origins in ["https://app.example.com", "https://*.example.com", "*"] {
        let options = BrokerOptions::embedded().set("cors.origins", origins);
        let options = options.set("auth.mode", "jwt").set("auth.jwt.algorithm", "HS256");
        let broker = Broker::start(options.set("auth.jwt.secret", "0123456789abcdef0123456789abcdef")).await;
        let exposed = async |origin: &str| {
            let headers = [("Origin", origin)];
            let response = http::request(broker.address(), "GET", TARGET, &headers, "").await;
            assert_eq!(response.status, 401);
            assert!(!response.header("www-authenticate").is_empty());
            response.header("access-control-expose-headers").to_owned()
        };
        assert_eq!(exposed("https://app.example.com").await, "retry-after, www-authenticate", "{origins}");
        let others = if origins == "*" { "retry-after, www-authenticate" } else { "" };
        assert_eq!(exposed("https://evil.test").await, others, "{origins}");
    }
}

#[tokio::test]
async fn page_can_read_a_problem() {
    let options = BrokerOptions::embedded().set("cors.origins", "https://app.example");
    let broker = Broker::start(options.set("server.header_bytes", 2048)).await;
    let long = "x".repeat(4096);
    for (method, target, extra, status, kind) in [
        ("GET", "/api/workspaces/a%20b/events", None, 400, "bad-workspace"),
        ("GET", "/nowhere", None, 404, "not-found"),
        ("DELETE", TARGET, None, 405, "method-not-allowed"),
        ("GET", TARGET, Some(("Accept", "text/html")), 406, "not-acceptable"),
        ("POST", TARGET, None, 400, "empty-event"),
        ("GET", TARGET, Some(("Cookie", &*long)), 431, "head-too-large"),
    ] {
        let mut headers = vec![("Origin", "https://app.example")];
        headers.extend(extra);
        let response = http::request(broker.address(), method, target, &headers, "").await;
        check_problem(&response, status, kind);
        assert_eq!(allowed_origin(&response), Some("https://app.example"));
    }
}

#[tokio::test]
async fn every_origin_is_allowed_without_cookies() {
    let broker = Broker::start(BrokerOptions::embedded().set("cors.origins", "*")).await;
    let response = preflight(&broker, "https://anyone.example", "POST").await;
    assert_eq!(allowed_origin(&response), Some("*"));
    assert!(!response.headers.contains_key("access-control-allow-credentials"));
    let client =
        broker.connect_with("acme", Connect::default().header("Origin", "https://anyone.example")).await;
    assert_eq!(client.header("access-control-allow-origin"), "*");
    assert!(!client.headers().contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn the_admin_listener_knows_no_origins() {
    let broker = Broker::start(BrokerOptions::embedded().set("cors.origins", "*")).await;
    let headers = [("Origin", "https://anyone.example")];
    let response = http::request(broker.admin(), "GET", "/status", &headers, "").await;
    assert_eq!(response.status, 200);
    assert_eq!(allowed_origin(&response), None);
}
