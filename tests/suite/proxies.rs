//! The shipped proxy configurations, in the real proxies.

use std::time::{Duration, Instant};

use crate::support::proxies::{Kind, Proxy};
use crate::support::{
    Broker, BrokerOptions, Connect, DEADLINE, End, Event, EventSource, RedisServer, SseClient, eventually,
    http,
};

const WORKSPACE: &str = "demo";

/// What a person does not notice. Passing an event on takes some milliseconds, even on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(800);

async fn connect(proxy: &Proxy) -> SseClient {
    let mut client = SseClient::connect(proxy.address(), WORKSPACE, Connect::default()).await;
    assert_eq!(client.status(), 200);
    client.hello().await;
    client
}

async fn publish(proxy: &Proxy, payload: &str) -> http::Response {
    let target = format!("/api/workspaces/{WORKSPACE}/events");
    http::request(proxy.address(), "POST", &target, &[], payload.to_owned()).await
}

#[tokio::test]
async fn each_event_arrives_before_the_next_is_published() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    for kind in Kind::ALL {
        let proxy = Proxy::start(kind, [&broker, &broker], &[]).await;
        let mut client = connect(&proxy).await;
        for number in 0..20 {
            let payload = format!(r#"{{"type":"COUNTED","number":{number}}}"#);
            let published = Instant::now();
            assert!(publish(&proxy, &payload).await.status.is_success());
            assert_eq!(client.application_event().await.data, payload);
            assert!(published.elapsed() < AT_ONCE, "{kind:?} held an event back: {:?}", published.elapsed());
        }
    }
}

/// The opposite of the test above: it can fail.
#[tokio::test]
async fn an_nginx_left_to_its_defaults_holds_the_stream_back() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let defaults = [
        ("proxy_buffering off;", "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"),
        ("proxy_http_version 1.1;", "proxy_http_version 1.0;"),
    ];
    let proxy = Proxy::start(Kind::Nginx, [&broker, &broker], &defaults).await;
    let connecting = SseClient::connect(proxy.address(), WORKSPACE, Connect::default());
    assert!(tokio::time::timeout(AT_ONCE, connecting).await.is_err(), "not even the head should have come");
}

/// nginx has its default of 60 s explicitly in force, HAProxy a still shorter one.
#[tokio::test]
async fn an_idle_stream_outlives_70_seconds_by_its_heartbeat() {
    const IDLE: Duration = Duration::from_secs(70);
    let options = BrokerOptions::embedded().set("sse.heartbeat_seconds", 5);
    let broker = Broker::start_ready(options).await;
    let shorter =
        [("timeout client 60s", "timeout client 10s"), ("timeout server 60s", "timeout server 10s")];
    let explicit = [("proxy_read_timeout 60s;", "proxy_read_timeout 60s;")];
    let nginx = Proxy::start(Kind::Nginx, [&broker, &broker], &explicit).await;
    let haproxy = Proxy::start(Kind::HaProxy, [&broker, &broker], &shorter).await;

    let idle = async |proxy: &Proxy| {
        let mut client = connect(proxy).await;
        let started = Instant::now();
        while started.elapsed() < IDLE {
            assert_eq!(client.next_event(DEADLINE).await.kind, "tidings.heartbeat");
        }
        assert_eq!(client.end(), None);
        client
    };
    let (mut behind_nginx, mut behind_haproxy) = tokio::join!(idle(&nginx), idle(&haproxy));
    assert!(publish(&nginx, "after all that time").await.status.is_success());
    behind_nginx.application_event().await;
    behind_haproxy.application_event().await;
}

/// The opposite of the test above: it can fail.
#[tokio::test]
async fn a_timeout_below_the_heartbeat_cuts_an_idle_stream() {
    let broker = Broker::start_ready(BrokerOptions::embedded().set("sse.heartbeat_seconds", 60)).await;
    for (kind, timeout) in [
        (Kind::Nginx, [("proxy_read_timeout 60s", "proxy_read_timeout 1s")]),
        (Kind::HaProxy, [("timeout server 60s", "timeout server 1s")]),
    ] {
        let proxy = Proxy::start(kind, [&broker, &broker], &timeout).await;
        let end = connect(&proxy).await.wait_end(DEADLINE).await;
        assert!(matches!(end, End::Cut(_)), "{kind:?}: {end:?}");
    }
}

#[tokio::test]
async fn an_event_source_outlives_a_time_without_brokers() {
    let options = BrokerOptions::embedded().set("sse.retry_ms", 100);
    let mut broker = Broker::start_ready(options).await;
    // The client comes back sooner than the shipped files ask for, so that the test is short.
    let soon = [
        (
            Kind::Nginx,
            vec![
                ("25% 2000", "25% 200"),
                ("25% 3000", "25% 200"),
                ("25% 4000", "25% 200"),
                ("5000;", "200;"),
            ],
        ),
        (Kind::HaProxy, vec![("rand(3000),add(2000)", "rand(100),add(100)")]),
    ];
    for (kind, soon) in soon {
        let proxy = Proxy::start(kind, [&broker, &broker], &soon).await;
        let mut source = EventSource::open(proxy.address(), WORKSPACE, Connect::default());
        source.hello().await;
        broker.kill();
        let away = source.wait_for(DEADLINE, |event| event.kind == "tidings.reconnect").await;
        assert_eq!(away.json()["reason"], "unavailable", "{kind:?}");
        assert!((100..=200).contains(&away.json()["retryMs"].as_u64().unwrap()), "{kind:?}: {away:?}");
        assert_eq!(publish(&proxy, "lost").await.status, 503, "{kind:?}: who publishes has to know");
        let origin = "https://app.example.com";
        let options = Connect::default().header("Origin", origin);
        let client = SseClient::connect(proxy.address(), WORKSPACE, options).await;
        assert_eq!(client.status(), 200);
        assert_eq!(client.header("access-control-allow-origin"), origin, "{kind:?}");
        assert_eq!(client.header("access-control-allow-credentials"), "true", "{kind:?}");

        broker.restart().await;
        source.hello().await;
        assert_eq!(source.closed(), None);
    }
}

/// How many events of a sort the sources have seen together.
fn count(sources: &[EventSource], wanted: fn(&Event) -> bool) -> usize {
    sources.iter().map(|source| source.events().iter().filter(|event| wanted(event)).count()).sum()
}

#[tokio::test]
async fn clients_of_a_broker_that_ends_move_to_the_other() {
    let redis = RedisServer::start().await;
    for kind in Kind::ALL {
        let options = BrokerOptions::redis(&redis)
            .set("sse.retry_ms", 100)
            .set("server.drain_delay_seconds", 2)
            .set("server.drain_seconds", 0.5);
        let mut one = Broker::start_ready(options.clone()).await;
        let two = Broker::start_ready(options).await;
        let proxy = Proxy::start(kind, [&one, &two], &[]).await;
        let mut sources: Vec<_> =
            (0..4).map(|_| EventSource::open(proxy.address(), WORKSPACE, Connect::default())).collect();
        for source in &mut sources {
            source.hello().await;
        }

        assert_eq!(one.terminate(DEADLINE).await, Some(0));
        // Who left was asked to, and the count of greetings says that everybody has arrived.
        eventually("all clients are with the other broker", DEADLINE, async || {
            let is_all = two.status().await["subscribers"] == sources.len();
            let asked = count(&sources, |event| event.kind == "tidings.reconnect");
            is_all && asked > 0 && count(&sources, Event::is_hello) == sources.len() + asked
        })
        .await;
        two.publish(WORKSPACE, "for all").await;
        for source in &mut sources {
            source.wait_for(DEADLINE, |event| event.data == "for all").await;
            assert_eq!(source.closed(), None);
        }
    }
}
