//! The requests that the console accepts.

use nix::sys::signal::Signal;
use serde_json::json;

use super::{API, JSON, TOKEN, ask, cookie, options, sign_in};
use crate::support::directory::{Directory, repository_file};
use crate::support::http::{self, Response};
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually};
use tidings::admin::console::CONSOLE_PATHS;

async fn status(broker: &Broker, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let headers = [headers, &[JSON]].concat();
    let response = http::request(broker.admin(), method, path, &headers, "{}").await;
    response.status.as_u16()
}

fn is_problem(response: &Response, kind: &str) -> bool {
    response.header("content-type") == "application/problem+json"
        && response.json()["type"] == format!("urn:tidings:problem:{kind}")
}

#[tokio::test]
async fn every_path_of_the_api_wants_credentials() {
    // An address with ten wrong tokens has to wait, so each broker gets few.
    for paths in API.chunks(5) {
        let broker = Broker::start(options()).await;
        for &(method, path) in paths {
            check_credentials(&broker, method, path).await;
        }
        broker.logged(r#"request="console""#).await;
        assert!(!broker.log().contains(TOKEN));
    }
}

async fn check_credentials(broker: &Broker, method: &str, path: &str) {
    for headers in [
        &[][..],
        &[("authorization", "Bearer a wrong token of some length")],
        &[("authorization", "Bearer ")],
        &[("authorization", "Basic YTpi")],
        &[("cookie", "tidings-console-1=x")],
    ] {
        let headers = [headers, &[JSON]].concat();
        let response = http::request(broker.admin(), method, path, &headers, "{}").await;
        assert_eq!(response.status, 401, "{method} {path} {headers:?}");
        assert!(is_problem(&response, "unauthenticated"), "{path}: {:?}", response.body);
        assert!(response.header("www-authenticate").starts_with("Bearer "));
    }
    let other = if method == "GET" { "POST" } else { "GET" };
    assert_eq!(ask(broker, other, path, "{}").await.status, 405, "{other} {path}");
}

#[tokio::test]
async fn api_without_a_configured_token_rejects_every_request() {
    let broker = Broker::start(BrokerOptions::embedded()).await;
    for (method, path) in API {
        assert_eq!(status(&broker, method, path, &[("authorization", "Bearer ")]).await, 401, "{path}");
    }
    let body = json!({ "token": "" }).to_string();
    assert_eq!(http::request(broker.admin(), "POST", "/session", &[JSON], body).await.status, 401);
    let page = http::get(broker.admin(), "/").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cross-origin-resource-policy"), "same-origin");
}

#[tokio::test]
async fn session_is_a_strict_cookie_and_ends() {
    let broker = Broker::start(options()).await;
    let body = json!({ "token": TOKEN }).to_string();
    let entered = http::request(broker.admin(), "POST", "/session", &[JSON], body).await;
    let set = entered.header("set-cookie");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(set.contains(attribute), "{set}");
    }
    assert_eq!(entered.header("cache-control"), "no-store");
    let cookie = cookie(&entered);
    let (_, secret) = cookie.split_once('=').unwrap();
    assert!(secret.len() >= 40, "{secret}");
    let node = async || status(&broker, "GET", "/api/console/node", &[("cookie", &cookie)]).await;
    assert_eq!(node().await, 200);
    let left = http::request(broker.admin(), "DELETE", "/session", &[("cookie", &cookie)], "").await;
    assert_eq!(left.status, 204);
    assert_eq!(node().await, 401);
    assert_ne!(sign_in(&broker).await, cookie);
}

#[tokio::test]
async fn requests_of_other_origins_are_rejected() {
    let broker = Broker::start(options()).await;
    let cookie = sign_in(&broker).await;
    let own = format!("http://{}", broker.admin());
    let body = json!({ "workspace": "demo", "type": "T" }).to_string();
    let publish = async |headers: &[(&str, &str)]| {
        let headers = [&[("cookie", cookie.as_str())], headers].concat();
        http::request(broker.admin(), "POST", "/api/console/publish", &headers, body.clone()).await
    };
    for headers in [&[JSON][..], &[JSON, ("origin", &own), ("sec-fetch-site", "same-origin")]] {
        assert_eq!(publish(headers).await.status, 200, "{headers:?}");
    }
    for headers in [
        &[JSON, ("origin", "http://evil.example")][..],
        &[JSON, ("origin", "null")],
        &[JSON, ("sec-fetch-site", "cross-site")],
        &[JSON, ("sec-fetch-site", "same-site"), ("origin", &own)],
    ] {
        let response = publish(headers).await;
        assert_eq!(response.status, 403, "{headers:?}");
        assert!(is_problem(&response, "origin-not-allowed"));
    }
    for headers in
        [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/x-www-form-urlencoded")]]
    {
        let response = publish(headers).await;
        assert_eq!(response.status, 415, "{headers:?}: a page may send this without a preflight");
    }
    let read = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-site")];
    assert_eq!(status(&broker, "GET", "/api/console/node", &read).await, 403);
    let token = json!({ "token": TOKEN }).to_string();
    let entered =
        http::request(broker.admin(), "POST", "/session", &[JSON, ("origin", "http://evil.example")], token)
            .await;
    assert_eq!(entered.status, 403);
}

#[tokio::test]
async fn only_configured_hosts_reach_the_console() {
    let broker = Broker::start(options().set("admin.hosts", "console.internal,other.internal")).await;
    let authorization = format!("Bearer {TOKEN}");
    let port = broker.admin().port();
    for (host, expected) in [
        (format!("localhost:{port}"), 200),
        (format!("127.0.0.1:{port}"), 200),
        ("console.internal".to_owned(), 200),
        ("Console.Internal:8081".to_owned(), 200),
        ("evil.example".to_owned(), 421),
        ("127.0.0.1.evil.example".to_owned(), 421),
        ("console.internal.evil.example".to_owned(), 421),
    ] {
        for path in ["/", "/api/console/node", "/console/app.js", "/enter?link=x"] {
            let headers = [("host", host.as_str()), ("authorization", &authorization)];
            let response = http::request(broker.admin(), "GET", path, &headers, "").await;
            let expected = if path.starts_with("/enter") && expected == 200 { 401 } else { expected };
            assert_eq!(response.status.as_u16(), expected, "{host} {path}");
            assert!(expected != 421 || is_problem(&response, "unknown-host"));
        }
    }
}

/// A page can set the header of a proxy, and so can a page whose own name leads here.
#[tokio::test]
async fn forwarded_host_makes_no_foreign_host_known() {
    // A listener beyond loopback takes any host for its probes.
    let options = options().on_all_addresses().set("auth.mode", "none");
    let options = options.set("server.trusted_proxies", "127.0.0.1").set("admin.hosts", "console.internal");
    let broker = Broker::start(options).await;
    let own = broker.admin().to_string();
    for (host, forwarded, expected) in [
        ("evil.example", "localhost", 421),
        ("evil.example", "console.internal", 421),
        (&own, "console.internal", 200),
        (&own, "evil.example", 421),
    ] {
        let headers = [("host", host), ("x-forwarded-host", forwarded)];
        let response = http::request(broker.admin(), "GET", "/", &headers, "").await;
        assert_eq!(response.status, expected, "{host} {forwarded}");
    }
}

/// An admin listener on all addresses takes any host for probes and metrics, and its console
/// loopback names alone.
#[tokio::test]
async fn public_listener_shows_its_console_under_known_hosts_alone() {
    let options = options().on_all_addresses().set("auth.mode", "none");
    let broker = Broker::start(options).await;
    let host = [("host", "node.example")];
    assert_eq!(http::request(broker.admin(), "GET", "/live", &host, "").await.status, 200);
    assert_eq!(http::request(broker.admin(), "GET", "/", &host, "").await.status, 421);
    assert_eq!(http::get(broker.admin(), "/").await.status, 200);
}

#[tokio::test]
async fn token_of_a_file_is_read_again_at_a_hangup() {
    let directory = Directory::new();
    let file = directory.write("token", "the first token of the node\n");
    let broker = Broker::start(BrokerOptions::embedded().set("admin.token_file", file.display())).await;
    let node = async |token: &str| {
        let authorization = format!("Bearer {token}");
        status(&broker, "GET", "/api/console/node", &[("authorization", &authorization)]).await
    };
    let session = async |token: &str| {
        let body = json!({ "token": token }).to_string();
        cookie(&http::request(broker.admin(), "POST", "/session", &[JSON], body).await)
    };
    let by_cookie =
        async |cookie: &str| status(&broker, "GET", "/api/console/node", &[("cookie", cookie)]).await;
    let first = session("the first token of the node").await;
    assert_eq!((node("the first token of the node").await, by_cookie(&first).await), (200, 200));
    directory.write("token", "the second token of the node\n");
    broker.signal(Signal::SIGHUP);
    broker.logged("the configuration was read again").await;
    assert_eq!(node("the second token of the node").await, 200);
    assert_eq!(node("the first token of the node").await, 401);
    assert_eq!(by_cookie(&first).await, 401, "a session ends with the token that began it");
    let second = session("the second token of the node").await;
    broker.signal(Signal::SIGHUP);
    eventually("it is read once more", DEADLINE, async || {
        broker.log().matches("the configuration was read again").count() == 2
    })
    .await;
    assert_eq!(by_cookie(&second).await, 200, "the token is the same");
    assert!(!broker.log().contains("token of the node"));
}

/// A page that guesses tokens gets nowhere, and others are not concerned.
#[tokio::test]
async fn wrong_tokens_of_an_address_are_counted_and_limited() {
    let broker =
        Broker::start(options().set("server.trusted_proxies", "127.0.0.1").set("auth.mode", "none")).await;
    let attempt = async |client: &str, token: &str| {
        let body = json!({ "token": token }).to_string();
        http::request(broker.admin(), "POST", "/session", &[JSON, ("x-forwarded-for", client)], body).await
    };
    let session = cookie(&attempt("192.0.2.1", TOKEN).await);
    for _ in 0..10 {
        assert_eq!(attempt("192.0.2.1", "a wrong token of some length").await.status, 401);
    }
    let limited = attempt("192.0.2.1", TOKEN).await;
    assert_eq!(limited.status, 429, "the token is not even compared");
    assert!(is_problem(&limited, "rate-limited"), "{:?}", limited.body);
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    // The response adds up to half of the time, so that clients return one by one.
    assert!((1..=90).contains(&wait), "{wait}");
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("authorization", authorization.as_str()), ("x-forwarded-for", "192.0.2.1")];
    assert_eq!(status(&broker, "GET", "/api/console/node", &headers).await, 429);
    let with_session = [("cookie", session.as_str()), ("x-forwarded-for", "192.0.2.1")];
    assert_eq!(status(&broker, "GET", "/api/console/node", &with_session).await, 200, "a session goes on");
    assert_eq!(attempt("192.0.2.2", TOKEN).await.status, 204);
    let count = async |outcome: &str| {
        broker.metric(&format!("tidings_console_sign_ins_total{{outcome=\"{outcome}\"}}")).await
    };
    assert_eq!(
        (count("accepted").await, count("rejected").await, count("limited").await),
        (Some(2.0), Some(10.0), Some(2.0))
    );
}

#[tokio::test]
async fn admin_token_is_shown_nowhere() {
    let broker = Broker::start(options()).await;
    for path in ["/status", "/metrics", "/api/console/node"] {
        let response = ask(&broker, "GET", path, "").await;
        assert!(response.status.is_success() && !response.text().contains(TOKEN), "{path}");
    }
    let shown = crate::support::commands::run_tidings(&["config"], &[("admin.token", TOKEN)]).await.success();
    assert!(shown.contains("***") && !shown.contains(TOKEN), "{shown}");
    let short = crate::support::commands::run_tidings(&["config"], &[("admin.token", "short")]).await;
    let told = short.failure(2);
    assert!(told.contains("at least 16 characters") && !told.contains("short"), "{told}");
}

#[tokio::test]
async fn bad_input_gets_a_problem() {
    let broker = Broker::start(options()).await;
    for (path, kind) in [
        ("/api/console/workspaces?limit=0", "bad-query"),
        ("/api/console/workspaces?sort=name", "bad-query"),
        ("/api/console/workspaces/a%20b", "bad-workspace"),
        ("/api/console/workspaces/a%ff", "bad-workspace"),
        ("/api/console/workspaces/a%20b/events", "bad-workspace"),
        ("/api/console/workspaces/demo?private=1", "bad-query"),
    ] {
        let response = ask(&broker, "GET", path, "").await;
        assert_eq!(response.status, 400, "{path}");
        assert!(is_problem(&response, kind), "{path}: {:?}", response.body);
    }
    for (path, body, kind) in [
        ("/session", "{}", "bad-request"),
        ("/session", "", "bad-request"),
        ("/session", r#"{"token":1}"#, "bad-request"),
        ("/api/console/publish", "", "bad-request"),
        ("/api/console/publish", r#"{"workspace":"demo","data":}"#, "bad-request"),
        ("/api/console/publish", r#"{"workspace":"demo","more":1}"#, "bad-request"),
        ("/api/console/publish", r#"{"workspace":"a b"}"#, "bad-workspace"),
        ("/api/console/disconnect", "{}", "bad-request"),
        ("/api/console/disconnect", r#"{"disconnect":{}}"#, "bad-request"),
        ("/api/console/disconnect", r#"{"disconnect":{"usr":"x"}}"#, "bad-request"),
    ] {
        let response = ask(&broker, "POST", path, body).await;
        assert_eq!(response.status, 400, "{path} {body}");
        assert!(is_problem(&response, kind), "{path} {body}: {:?}", response.body);
    }
    let large = format!(r#"{{"workspace":"demo","data":"{}"}}"#, "x".repeat(2 << 20));
    assert_eq!(ask(&broker, "POST", "/api/console/publish", &large).await.status, 413);
    let large = format!(r#"{{"token":"{}"}}"#, "x".repeat(64 << 10));
    assert_eq!(ask(&broker, "POST", "/session", &large).await.status, 413);
    for path in [
        "/console/none.js",
        "/console/",
        "/console/../app.js",
        "/api/console/",
        "/api/console/workspaces/a/b",
    ] {
        assert_eq!(ask(&broker, "GET", path, "").await.status, 404, "{path}");
    }
}

#[test]
fn document_names_every_path_of_the_console() {
    let document = repository_file("docs/console.md");
    for (path, methods) in CONSOLE_PATHS {
        for method in methods.split(", ") {
            assert!(document.contains(&format!("`{method} {path}`")) || method == "HEAD", "{method} {path}");
        }
    }
    for (_, path) in API {
        let path = path.replace("/demo", "/{workspace}");
        assert!(CONSOLE_PATHS.iter().any(|(known, _)| *known == path), "{path}");
    }
    let api = CONSOLE_PATHS.iter().filter(|(path, _)| path.starts_with("/api/")).count();
    assert_eq!(api, API.len(), "a path without a test of its credentials");
}
