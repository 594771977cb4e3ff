//! The views "Explain" and "Nodes" in a browser.

use serde_json::json;

use super::TOKEN;
use super::page::{is_clean, show, signed_in, wait_for};
use crate::support::http;
use crate::support::token::{JWT, bearer, token};
use crate::support::{Broker, BrokerOptions, Connect, RedisServer};

fn options(server: &RedisServer) -> BrokerOptions {
    let options = BrokerOptions::redis(server).set("admin.token", TOKEN);
    JWT.iter().fold(options, |options, (key, value)| options.set(key, value))
}

/// A script that fills the form and sends it.
fn explain(pasted: &str, workspace: &str, user: &str) -> String {
    let values = json!({ "pasted": pasted, "workspace": workspace, "user": user });
    format!(
        "const values = {values}; \
         for (const name in values) document.querySelector(`input[name=${{name}}]`).value = values[name]; \
         document.querySelector('input[name=pasted]').dispatchEvent(new Event('input')); \
         document.querySelector('form button').click()"
    )
}

#[tokio::test]
async fn page_explains_tokens_events_and_positions() {
    let server = RedisServer::start().await;
    let (browser, _broker) = signed_in(options(&server)).await;
    let other = Broker::start_ready(options(&server)).await;
    let valid = token("ann", &["acme"], 60, &json!({}));
    let authorization = bearer(&valid);
    let mut client =
        other.connect_with("acme", Connect::default().header("Authorization", &authorization)).await;
    client.connected().await;
    let body = json!({ "workspace": "acme" }).to_string();
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let issued = http::request(other.address(), "POST", "/api/tickets", &headers, body).await;
    let ticket = issued.json()["ticket"].as_str().unwrap().to_owned();
    let event =
        crate::support::commands::run_tidings(&["publish", "acme", "x"], &[("redis.url", &server.url())])
            .await;
    let event = event.success().trim().to_owned();
    client.application_event().await;
    show(&browser, "explain", "Last-Event-ID or event id").await;
    let verdicts =
        "return [...document.querySelectorAll('.verdict')].map((verdict) => verdict.innerText).join()";
    for (pasted, workspace, kind, expected) in [
        (token("ann", &["acme"], -60, &json!({})), "acme", "This is a token", "refuses its token"),
        (ticket, "", "This is a ticket", "opens one stream until"),
        ("0".repeat(64), "acme", "This is a ticket", "is unknown, used or expired"),
        (valid, "acme", "This is a token", "is served by 1 open stream"),
        (event, "", "This is an event id", "Open streams: 1 written"),
        ("of another broker".to_owned(), "acme", "This is no event id", "unknown-position"),
    ] {
        browser.run(&explain(&pasted, workspace, "")).await;
        wait_for(&browser, expected, &format!("{verdicts}.includes({})", json!(expected))).await;
        let said = browser.run("return document.querySelector('form [role=status]').textContent").await;
        assert!(said.as_str().unwrap().starts_with(kind), "{said}");
    }
    let pasted = browser.run("return location.href + document.cookie").await;
    assert!(!pasted.as_str().unwrap().contains("eyJ"), "no token is in the address: {pasted}");
    let wide = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(browser.run(wide).await, true);
    is_clean(&browser).await;
}

#[tokio::test]
async fn page_lists_nodes_and_shows_forged_ones_as_text() {
    let server = RedisServer::start().await;
    let (browser, broker) = signed_in(options(&server).set("admin.url", "https://console.internal")).await;
    let script = "<img src=x onerror=\"document.title='stolen'\">";
    let forged = json!({
        "node": "forgedxx", "version": script, "commit": "x", "startedMs": 1, "ready": false,
        "notReadyBecause": [script], "connections": 1, "subscribers": 1, "workspaces": 1,
        "url": "javascript:document.title='stolen'",
    });
    let until = "4000000000000".to_owned();
    server.command::<redis::Value>(&["ZADD", "tidings/workspace:nodes", &until, &forged.to_string()]).await;
    let shown = show(&browser, "nodes", "1 of 2 nodes replied").await;
    assert!(shown.contains(script) && shown.contains("no reply within a second"), "{shown}");
    let status = broker.status().await;
    let node = status["node"].as_str().unwrap();
    assert!(shown.contains(&format!("{node} (this node)")), "{shown}");
    let links = "return [...document.querySelectorAll('main table a')].map((link) => link.href).join()";
    assert_eq!(browser.run(links).await, "https://console.internal/");
    assert_eq!(browser.run("return document.querySelectorAll('main img').length").await, 0);
    assert_ne!(browser.run("return document.title").await, "stolen");
    is_clean(&browser).await;
}
