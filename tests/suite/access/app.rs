//! `auth.mode = "forward"`, from outside.

use std::time::Duration;

use serde_json::json;

use super::control::order;
use crate::support::app::App;
use crate::support::http;
use crate::support::sse::{Connect, EventSource};
use crate::support::test_cluster::on_both_buses;
use crate::support::token::{JWT, bearer, token};
use crate::support::wait::eventually;
use crate::support::{Bus, DEADLINE, SseClient, TestCluster};

on_both_buses!(a_session_of_the_app_opens_a_stream, a_session_that_ends_ends_its_streams);

const EVENTS: &str = "/api/workspaces/acme/events";

async fn start(bus: Bus, app: &App, more: &[(&str, &str)]) -> TestCluster {
    let url = app.url();
    let settings =
        [&[("auth.mode", "forward"), ("auth.forward.url", &url), ("sse.retry_ms", "100")], more].concat();
    TestCluster::start_with(bus, &settings).await
}

fn session(name: &str) -> Connect {
    Connect::default().header("Cookie", &format!("session={name}"))
}

async fn a_session_of_the_app_opens_a_stream(bus: Bus) {
    let app = App::start().await;
    app.sign_in("s1", "ann", &["acme"]);
    app.sign_in("s2", "editor", &["acme"]);
    let cluster = start(bus, &app, &[]).await;
    let mut client = cluster.broker.connect_with("acme", session("s1")).await;
    client.connected().await;
    assert_eq!(cluster.broker.connect_with("other", session("s1")).await.status(), 403);
    assert_eq!(cluster.broker.connect_with("acme", session("nobody")).await.status(), 401);
    assert_eq!(cluster.broker.connect("acme").await.status(), 401);

    let post = async |cookie| {
        http::request(cluster.broker.address(), "POST", EVENTS, &[("Cookie", cookie)], "x").await
    };
    let reader = post("session=s1").await;
    assert_eq!((reader.status.as_u16(), &reader.json()["check"]), (403, &json!("publish")));
    assert_eq!(post("session=s2").await.status, 200);
    assert_eq!(client.application_event().await.data, "x");

    // The user is known by what the app said.
    cluster.broker.ready().await;
    order(&cluster, json!({ "disconnect": { "user": "ann" } })).await;
    assert_eq!(client.event_named("tidings.reconnect").await.json()["reason"], "disconnected");
    assert!(!cluster.broker.log().contains("session="), "{}", cluster.broker.log());
}

/// No client reads after its right to read has ended: a recheck ends the streams of a session.
async fn a_session_that_ends_ends_its_streams(bus: Bus) {
    let app = App::start().await;
    app.sign_in("s1", "ann", &["acme"]);
    app.sign_in("s2", "ben", &["acme"]);
    let cluster = start(bus, &app, &[("auth.recheck_seconds", "1")]).await;
    let mut ann = EventSource::open(cluster.broker.address(), "acme", session("s1"));
    let mut ben = cluster.broker.connect_with("acme", session("s2")).await;
    ann.connected().await;
    ben.connected().await;

    app.sign_out("s1");
    let last = ann.wait_for(DEADLINE, |event| event.kind == "tidings.reconnect").await;
    assert_eq!(last.json()["reason"], "unauthorized");
    eventually("the app's answer ends it for good", DEADLINE, async || ann.closed().is_some()).await;
    let asked = app.asked();
    eventually("the other one is asked about again and again", DEADLINE, async || app.asked() > asked + 1)
        .await;
    assert!(ben.end().is_none());

    // The next request finds the session of another user.
    app.sign_in("s2", "eve", &["acme"]);
    assert_eq!(ben.event_named("tidings.reconnect").await.json()["reason"], "unauthorized");
}

/// While the app is away, new streams get a temporary denial and open streams continue.
#[tokio::test]
async fn missing_app_rejects_new_clients_and_keeps_open_streams() {
    let app = App::start().await;
    app.sign_in("s1", "ann", &["acme"]);
    let cluster = start(Bus::Embedded, &app, &[("auth.recheck_seconds", "1")]).await;
    let mut client = cluster.broker.connect_with("acme", session("s1")).await;
    client.connected().await;

    app.set_broken(true);
    let mut newcomer = EventSource::open(cluster.broker.address(), "acme", session("s1"));
    let told = newcomer.wait_for(DEADLINE, |event| event.kind == "tidings.reconnect").await;
    assert_eq!(told.json()["reason"], "unverified");
    let headers = [("Cookie", "session=s1")];
    let target = format!("{EVENTS}?errors=http");
    let refused = http::request(cluster.broker.address(), "GET", &target, &headers, "").await;
    assert_eq!((refused.status.as_u16(), &refused.json()["check"]), (503, &json!("app-unavailable")));
    let asked = app.asked();
    eventually("the open stream is asked about", DEADLINE, async || app.asked() > asked).await;
    cluster.publish_live("acme", "still here").await;
    assert_eq!(client.application_event().await.data, "still here");

    // Without a yes for three times the interval it ends all the same.
    let last = client.wait_for(Duration::from_secs(8), |event| event.kind == "tidings.reconnect").await;
    assert_eq!(last.json()["reason"], "unauthorized");
    app.set_broken(false);
    newcomer.connected().await;
    assert_eq!(newcomer.closed(), None, "it has survived all that");
}

#[tokio::test]
async fn ticket_does_not_extend_the_grant_of_the_app() {
    let app = App::start().await;
    app.sign_in("s1", "ann", &["acme"]);
    let cluster = start(Bus::Embedded, &app, &[("auth.recheck_seconds", "2")]).await;
    let (headers, wish) = ([("Cookie", "session=s1")], r#"{"workspace":"acme"}"#);
    let issued = http::request(cluster.broker.address(), "POST", "/api/tickets", &headers, wish).await;
    assert_eq!(issued.status, 201);
    app.sign_out("s1");
    let ticket = issued.json()["ticket"].as_str().unwrap().to_owned();
    let mut client = cluster.broker.connect_with("acme", Connect::query(&format!("ticket={ticket}"))).await;
    client.connected().await;
    assert_eq!(client.event_named("tidings.reconnect").await.json()["reason"], "expired");
}

#[tokio::test]
async fn of_several_methods_the_first_that_lets_in_decides() {
    let app = App::start().await;
    app.sign_in("s1", "ann", &["acme"]);
    let url = app.url();
    let settings = [&JWT[1..], &[("auth.mode", "jwt,forward"), ("auth.forward.url", &url)]].concat();
    let cluster = TestCluster::start_with(Bus::Embedded, &settings).await;
    let good = bearer(&token("ben", &["acme"], 60, &json!({})));
    assert_eq!(
        cluster.broker.connect_with("acme", Connect::default().header("Authorization", &good)).await.status(),
        200
    );
    assert_eq!(app.asked(), 0, "the token was enough");
    assert_eq!(cluster.broker.connect_with("acme", session("s1")).await.status(), 200);
    let expired = bearer(&token("ben", &["acme"], -120, &json!({})));
    let both = session("s1").header("Authorization", &expired);
    assert_eq!(cluster.broker.connect_with("acme", both).await.status(), 200);
    assert_eq!(cluster.broker.connect("acme").await.status(), 401);
}

#[tokio::test]
async fn one_address_cannot_fill_the_queue_of_the_app() {
    let app = App::start().await;
    app.sign_in("s1", "ann", &["acme"]);
    app.set_slow(true);
    let url = app.url();
    let settings = [
        ("auth.mode", "forward"),
        ("auth.forward.url", url.as_str()),
        ("auth.forward.concurrent", "4"),
        ("auth.forward.queue", "4"),
        ("server.trusted_proxies", "127.0.0.1"),
    ];
    let cluster = TestCluster::start_with(Bus::Embedded, &settings).await;
    let address = cluster.broker.address();
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..20 {
        crowd.spawn(async move {
            let cookie = format!("session=none{number}");
            let headers = [("Cookie", cookie.as_str()), ("X-Forwarded-For", "203.0.113.9")];
            http::request(address, "GET", &format!("{EVENTS}?errors=http"), &headers, "")
                .await
                .status
                .as_u16()
        });
    }
    eventually("its share of the queue is full", DEADLINE, async || app.asked() == 2).await;
    let one_more = [("Cookie", "session=more"), ("X-Forwarded-For", "203.0.113.9")];
    let target = format!("{EVENTS}?errors=http");
    let refused = http::request(address, "GET", &target, &one_more, "").await;
    assert_eq!((refused.status.as_u16(), &refused.json()["check"]), (503, &json!("app-unavailable")));

    let somebody_else = session("s1").header("X-Forwarded-For", "198.51.100.1");
    let other =
        tokio::spawn(async move { SseClient::connect(address, "acme", somebody_else).await.status() });
    eventually("the app is asked about somebody else", DEADLINE, async || app.asked() == 3).await;
    app.set_slow(false);
    assert_eq!(other.await.unwrap(), 200);
    let answers = crowd.join_all().await;
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 2, "{answers:?}");
}

#[tokio::test]
async fn crowd_of_new_clients_ends_no_open_stream() {
    const STREAMS: usize = 5;
    let app = App::start().await;
    let settings = [
        ("auth.recheck_seconds", "1"),
        ("auth.forward.timeout_seconds", "2"),
        ("auth.forward.concurrent", "4"),
        ("auth.forward.queue", "4"),
        ("server.trusted_proxies", "127.0.0.1"),
    ];
    let cluster = start(Bus::Embedded, &app, &settings).await;
    let address = cluster.broker.address();
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        let name = format!("s{number}");
        app.sign_in(&name, &name, &["acme"]);
        let mut client = cluster.broker.connect_with("acme", session(&name)).await;
        client.connected().await;
        streams.push(client);
    }

    app.set_slow_without_credentials(true);
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..40 {
        crowd.spawn(async move {
            for attempt in 0.. {
                let cookie = format!("session=none{number}-{attempt}");
                let from = format!("203.0.113.{}", number % 5);
                let headers = [("Cookie", cookie.as_str()), ("X-Forwarded-For", from.as_str())];
                let _ =
                    http::try_request(address, "GET", &format!("{EVENTS}?errors=http"), &headers, "").await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let busy = "tidings_forward_total{outcome=\"failed\"}";
    eventually("no newcomer is let in any more", DEADLINE, async || {
        cluster.broker.metric(busy).await.is_some_and(|count| count > 50.0)
    })
    .await;
    // Twice as often as a stream is patient.
    let before = app.confirmed();
    eventually("the app is asked about all of them", 2 * DEADLINE, async || {
        app.confirmed() >= before + 6 * STREAMS
    })
    .await;
    cluster.publish_live("acme", "still here").await;
    for client in &mut streams {
        assert_eq!(client.application_event().await.data, "still here");
        assert_eq!(client.end(), None);
    }
    crowd.shutdown().await;
}

#[tokio::test]
async fn new_clients_connect_beside_a_crowd_of_few_addresses() {
    const NEWCOMERS: usize = 12;
    let app = App::start().await;
    let settings = [("auth.forward.timeout_seconds", "3"), ("server.trusted_proxies", "127.0.0.1")];
    let cluster = start(Bus::Embedded, &app, &settings).await;
    let address = cluster.broker.address();
    app.set_slow_without_credentials(true);
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..150 {
        crowd.spawn(async move {
            for attempt in 0.. {
                let cookie = format!("session=none{number}-{attempt}");
                let from = format!("203.0.113.{}", number % 5);
                let headers = [("Cookie", cookie.as_str()), ("X-Forwarded-For", from.as_str())];
                let _ =
                    http::try_request(address, "GET", &format!("{EVENTS}?errors=http"), &headers, "").await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let busy = "tidings_forward_total{outcome=\"failed\"}";
    eventually("the crowd has taken all places", DEADLINE, async || {
        cluster.broker.metric(busy).await.is_some_and(|count| count > 20.0)
    })
    .await;
    for number in 0..NEWCOMERS {
        let name = format!("newcomer-{number}");
        app.sign_in(&name, &name, &["acme"]);
        let from = format!("198.51.100.{number}");
        let mut client =
            cluster.broker.connect_with("acme", session(&name).header("X-Forwarded-For", &from)).await;
        client.connected().await;
    }
    crowd.shutdown().await;
}
