//! The link that a first start prints on a terminal.

use std::io::Read as _;

use crate::support::http;
use crate::support::programs::Sink;
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer};

use super::cookie;

/// Starts a broker whose output goes to a terminal, and returns the output up to some text and the
/// end of its line.
async fn output_with(options: BrokerOptions, text: &'static str) -> (Broker, String) {
    let (sink, mut terminal) = Sink::terminal();
    let broker = Broker::start(options.writing_to(&sink)).await;
    drop(sink);
    let reading = tokio::task::spawn_blocking(move || {
        let (mut seen, mut buffer) = (String::new(), [0; 4096]);
        loop {
            let count = terminal.read(&mut buffer).unwrap_or_default();
            assert_ne!(count, 0, "{text:?} is not in {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
            if seen.split_once(text).is_some_and(|(_, rest)| rest.contains('\n')) {
                return seen;
            }
        }
    });
    let seen = tokio::time::timeout(DEADLINE, reading).await.expect("the text").unwrap();
    (broker, seen)
}

#[tokio::test]
async fn printed_link_opens_the_console_once() {
    let (broker, seen) = output_with(BrokerOptions::embedded(), "Operations: ").await;
    let line = seen.lines().find(|line| line.contains("/enter?link=")).expect("a line with a link");
    let (_, link) = line.split_once("http://").expect("a link");
    let path = link.trim().strip_prefix(&broker.admin().to_string()).expect("the admin listener");
    assert_eq!(http::request(broker.admin(), "HEAD", path, &[], "").await.status, 405, "it uses up nothing");
    let wrong = format!("{path}x");
    assert_eq!(http::get(broker.admin(), &wrong).await.status, 401);
    let entered = http::get(broker.admin(), path).await;
    assert_eq!((entered.status.as_u16(), entered.header("location")), (303, "/"));
    let cookie = cookie(&entered);
    let node = http::request(broker.admin(), "GET", "/api/console/node", &[("cookie", &cookie)], "").await;
    assert_eq!(node.status, 200);
    let again = http::get(broker.admin(), path).await;
    assert_eq!((again.status.as_u16(), again.header("set-cookie")), (401, ""));
    let page = http::request(broker.admin(), "GET", path, &[("accept", "text/html,*/*")], "").await;
    assert_eq!((page.status.as_u16(), page.header("location")), (303, "/#/used"));
}

/// Wrong links are limited, and keep neither a right one nor the token out.
#[tokio::test]
async fn wrong_links_are_limited_and_a_right_one_opens() {
    let options = super::options().set("server.trusted_proxies", "127.0.0.1").set("auth.mode", "none");
    let (broker, seen) = output_with(options, "Operations: ").await;
    let (_, link) = seen.split_once("/enter?link=").expect("a link");
    let path = format!("/enter?link={}", link.lines().next().unwrap().trim());
    let enter = async |path: &str, headers: &[(&str, &str)]| {
        http::request(broker.admin(), "GET", path, headers, "").await
    };
    let sign_in = async |client: &str| {
        let body = serde_json::json!({ "token": super::TOKEN }).to_string();
        let headers = [super::JSON, ("x-forwarded-for", client)];
        http::request(broker.admin(), "POST", "/session", &headers, body).await.status.as_u16()
    };
    let [guesser, other] = ["192.0.2.1", "192.0.2.2"];
    for number in 0..10 {
        let wrong = format!("/enter?link={number}");
        assert_eq!(enter(&wrong, &[("x-forwarded-for", guesser)]).await.status, 401);
    }
    let limited = enter("/enter?link=x", &[("x-forwarded-for", guesser)]).await;
    assert_eq!((limited.status.as_u16(), &limited.json()["check"]), (429, &"console".into()));
    assert_eq!(sign_in(guesser).await, 204, "any page can lead a browser to wrong links");
    assert_eq!(enter("/enter?link=x", &[("x-forwarded-for", other)]).await.status, 401);
    let right = enter(&path, &[("x-forwarded-for", guesser)]).await;
    assert_eq!((right.status.as_u16(), right.header("location")), (303, "/"));
    let count = async |outcome: &str| {
        broker.metric(&format!("tidings_console_sign_ins_total{{outcome=\"{outcome}\"}}")).await
    };
    assert_eq!(
        (count("accepted").await, count("rejected").await, count("limited").await),
        (Some(2.0), Some(11.0), Some(1.0))
    );
}

/// A file or pipe may be kept and read by others.
#[tokio::test]
async fn link_is_printed_on_no_other_output() {
    let broker = Broker::start(BrokerOptions::embedded()).await;
    let log = broker.logged("Operations: ").await;
    assert!(!log.contains("/enter"), "{log}");
}

#[tokio::test]
async fn link_is_for_the_embedded_bus_and_text_alone() {
    let server = RedisServer::start().await;
    let (_redis, seen) = output_with(BrokerOptions::redis(&server), "Operations: ").await;
    assert!(!seen.contains("/enter"), "{seen}");
    let json = BrokerOptions::embedded().set("log.format", "json");
    let (_json, seen) = output_with(json, "listening").await;
    assert!(!seen.contains("/enter"), "{seen}");
}
