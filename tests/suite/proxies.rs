//! The shipped proxy configurations, in the real proxies.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::support::names::NameServer;
use crate::support::nginx_host::{NginxHost, curl_over_http2};
use crate::support::programs::Program;
use crate::support::proxies::{Kind, Proxy};
use crate::support::{
    Broker, BrokerOptions, Connect, DEADLINE, End, Event, EventSource, RedisServer, SseClient, eventually,
    http, median,
};

const WORKSPACE: &str = "demo";

/// A person does not notice this delay. A proxy that passes an event on needs some milliseconds.
const AT_ONCE: Duration = Duration::from_millis(800);

async fn connect(proxy: &Proxy) -> SseClient {
    let mut client = SseClient::connect(proxy.address(), WORKSPACE, Connect::default()).await;
    assert_eq!(client.status(), 200);
    client.connected().await;
    client
}

/// A broker for clients of other machines, for which some of these proxies say that they ask.
fn open_to_proxies() -> BrokerOptions {
    BrokerOptions::embedded().set("auth.mode", "none")
}

async fn publish(proxy: &Proxy, payload: &str) -> http::Response {
    let target = format!("/api/workspaces/{WORKSPACE}/events");
    http::request(proxy.address(), "POST", &target, &[], payload.to_owned()).await
}

/// Makes a test of each of these proxies, side by side.
macro_rules! with_each_proxy {
    ($($test:ident: $($proxy:ident)+;)+) => { $(
        #[expect(non_snake_case, reason = "named as the kinds are")]
        mod $test {
            use crate::support::proxies::Kind;
            $(
                #[tokio::test]
                async fn $proxy() {
                    super::$test(Kind::$proxy).await;
                }
            )+
        }
    )+ };
}

with_each_proxy! {
    each_event_arrives_before_the_next_is_published: Nginx HaProxy Caddy Apache Envoy Traefik;
    an_event_source_outlives_a_time_without_brokers: Nginx HaProxy Caddy Apache Envoy;
    clients_of_a_broker_that_ends_move_to_the_other: Nginx HaProxy Caddy Apache Envoy Traefik;
    brokers_that_come_back_at_other_addresses_are_found: Nginx HaProxy Caddy Apache Envoy Traefik;
    a_client_that_left_is_gone_at_the_broker: Nginx HaProxy Caddy Apache Envoy Traefik;
    more_streams_are_carried_than_by_default: Nginx HaProxy Caddy Apache Envoy Traefik;
}

async fn each_event_arrives_before_the_next_is_published(kind: Kind) {
    let broker = Broker::start_ready(open_to_proxies()).await;
    let proxy = Proxy::start(kind, [&broker, &broker], &[]).await;
    let mut client = connect(&proxy).await;
    let mut times = Vec::new();
    for number in 0..20 {
        let payload = format!(r#"{{"type":"COUNTED","number":{number}}}"#);
        let published = Instant::now();
        assert!(publish(&proxy, &payload).await.status.is_success());
        assert_eq!(client.application_event().await.data, payload);
        times.push(published.elapsed());
    }
    assert!(median(times.clone()) < AT_ONCE, "events were held back: {times:?}");
}

/// The opposite of the test above: it can fail.
#[tokio::test]
async fn an_nginx_left_to_its_defaults_holds_the_stream_back() {
    let broker = Broker::start_ready(open_to_proxies()).await;
    let defaults = [
        ("proxy_buffering off;", "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"),
        ("proxy_http_version 1.1;", "proxy_http_version 1.0;"),
    ];
    let proxy = Proxy::start(Kind::Nginx, [&broker, &broker], &defaults).await;
    let connecting = SseClient::connect(proxy.address(), WORKSPACE, Connect::default());
    assert!(tokio::time::timeout(AT_ONCE, connecting).await.is_err(), "not even the head should have come");
}

/// HAProxy has shorter timeouts than it ships with; the others have theirs, of 60 s or none.
#[tokio::test]
async fn an_idle_stream_outlives_70_seconds_by_its_heartbeat() {
    const IDLE: Duration = Duration::from_secs(70);
    let options = open_to_proxies().set("sse.heartbeat_seconds", 5);
    let broker = Broker::start_ready(options).await;
    let shorter =
        [("timeout client 60s", "timeout client 10s"), ("timeout server 60s", "timeout server 10s")];
    let mut waiting = JoinSet::new();
    for kind in Kind::ALL {
        let changes: &[_] = if kind == Kind::HaProxy { &shorter } else { &[] };
        let proxy = Proxy::start(kind, [&broker, &broker], changes).await;
        waiting.spawn(async move {
            let mut client = connect(&proxy).await;
            let started = Instant::now();
            while started.elapsed() < IDLE {
                client.event_named("tidings.heartbeat").await;
            }
            assert_eq!(client.end(), None, "{kind:?}");
            (proxy, client)
        });
    }
    let idle = waiting.join_all().await;
    assert!(publish(&idle[0].0, "after all that time").await.status.is_success());
    for (_proxy, mut client) in idle {
        client.application_event().await;
    }
}

/// The opposite of the test above: it can fail.
#[tokio::test]
async fn timeout_below_the_heartbeat_closes_an_idle_stream() {
    let broker = Broker::start_ready(open_to_proxies().set("sse.heartbeat_seconds", 60)).await;
    for (kind, timeout) in [
        (Kind::Nginx, [("proxy_read_timeout 60s", "proxy_read_timeout 1s")]),
        (Kind::HaProxy, [("timeout server 60s", "timeout server 1s")]),
        (Kind::Apache, [("timeout=60", "timeout=1")]),
        (Kind::Envoy, [("stream_idle_timeout: 60s", "stream_idle_timeout: 1s")]),
        // Envoy's bound on a whole response, which is 15 s unless the file removes it.
        (Kind::Envoy, [("timeout: 0s", "timeout: 1s")]),
    ] {
        let proxy = Proxy::start(kind, [&broker, &broker], &timeout).await;
        let end = connect(&proxy).await.wait_end(DEADLINE).await;
        assert!(matches!(end, End::Aborted(_)), "{kind:?}: {end:?}");
    }
}

/// Changes with which clients reconnect sooner than with the shipped files, so that a test is
/// short.
fn soon(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Nginx => {
            &[("25% 2000", "25% 200"), ("25% 3000", "25% 200"), ("25% 4000", "25% 200"), ("5000;", "200;")]
        }
        Kind::HaProxy => &[("rand(3000),add(2000)", "rand(100),add(100)")],
        Kind::Caddy => {
            &[("] 2000", "] 200"), ("] 3000", "] 200"), ("] 4000", "] 200"), ("default 5000", "default 200")]
        }
        Kind::Envoy => &[("3000", "200")],
        Kind::Apache | Kind::Traefik => &[],
    }
}

async fn an_event_source_outlives_a_time_without_brokers(kind: Kind) {
    let options = open_to_proxies().set("sse.retry_ms", 100);
    let mut broker = Broker::start_ready(options).await;
    let proxy = Proxy::start(kind, [&broker, &broker], soon(kind)).await;
    let mut source = EventSource::open(proxy.address(), WORKSPACE, Connect::default());
    source.connected().await;
    broker.kill();
    let away = source.wait_for(DEADLINE, |event| event.kind == "tidings.reconnect").await;
    assert_eq!(away.json()["reason"], "unavailable");
    let retry_ms = away.json()["retryMs"].as_u64().unwrap();
    assert!((100..=200).contains(&retry_ms), "{away:?}");
    assert_eq!(publish(&proxy, "lost").await.status, 503, "who publishes has to know");
    for question in ["position", "access"] {
        let target = format!("/api/workspaces/{WORKSPACE}/{question}");
        let response = http::get(proxy.address(), &target).await;
        assert!(response.status.is_server_error(), "only a stream survives it: {}", response.status);
    }
    let origin = "https://app.example.com";
    let options = Connect::default().header("Origin", origin);
    let mut client = SseClient::connect(proxy.address(), WORKSPACE, options).await;
    assert_eq!(client.status(), 200);
    assert!(client.header("content-type").starts_with("text/event-stream"), "{:?}", client.headers());
    assert_eq!(client.header("access-control-allow-origin"), origin);
    assert_eq!(client.header("access-control-allow-credentials"), "true");
    assert!(client.header("cache-control").contains("no-store"));
    client.wait_end(DEADLINE).await;
    let body = String::from_utf8(client.body()).unwrap();
    // Some clients take a block without data for a message.
    assert!(body.starts_with("retry: ") && body.ends_with("}\n\n"), "{body:?}");
    assert_eq!(body.matches("\n\n").count(), 1, "{body:?}");

    broker.restart().await;
    source.connected().await;
    assert_eq!(source.closed(), None);
}

/// The file says so, and that pages have to open a new one.
#[tokio::test]
async fn traefik_ends_an_event_source_while_there_is_no_broker() {
    let mut broker = Broker::start_ready(open_to_proxies().set("sse.retry_ms", 100)).await;
    let proxy = Proxy::start(Kind::Traefik, [&broker, &broker], &[]).await;
    let mut source = EventSource::open(proxy.address(), WORKSPACE, Connect::default());
    source.connected().await;
    broker.kill();
    eventually("the source is closed for good", DEADLINE, async || source.closed().is_some()).await;
}

/// How many events of a sort the sources have seen together.
fn count(sources: &[EventSource], wanted: fn(&Event) -> bool) -> usize {
    sources.iter().map(|source| source.events().iter().filter(|event| wanted(event)).count()).sum()
}

/// Two brokers on one Redis, with the same ports on addresses of their own.
async fn pair(redis: &RedisServer, settings: &[(&str, f64)]) -> [Broker; 2] {
    let mut options = BrokerOptions::redis(redis)
        .set("auth.mode", "none")
        .on(Ipv4Addr::new(127, 0, 0, 2))
        .set("sse.retry_ms", 100);
    for (key, value) in settings {
        options = options.set(key, value);
    }
    let one = Broker::start_ready(options).await;
    let two = Broker::start_beside(&one, Ipv4Addr::new(127, 0, 0, 3)).await;
    [one, two]
}

async fn clients_of_a_broker_that_ends_move_to_the_other(kind: Kind) {
    let redis = RedisServer::start().await;
    let drain = [("server.drain_delay_seconds", 2.0), ("server.drain_seconds", 0.5)];
    let [mut one, two] = pair(&redis, &drain).await;
    let proxy = Proxy::start(kind, [&one, &two], &[]).await;
    let mut sources = Vec::new();
    // The threads of a proxy may lead their first clients to the same broker.
    while sources.len() < 4 || one.status().await["subscribers"] == 0 {
        assert!(sources.len() < 64, "the proxy leads all clients to one broker");
        let mut source = EventSource::open(proxy.address(), WORKSPACE, Connect::default());
        source.connected().await;
        sources.push(source);
    }

    assert_eq!(one.terminate(DEADLINE).await, Some(0));
    // Each client left because of a reconnect, and the count of `connected` events shows that all
    // have arrived.
    eventually("all clients are with the other broker", DEADLINE, async || {
        let is_all = two.status().await["subscribers"] == sources.len();
        let asked = count(&sources, |event| event.kind == "tidings.reconnect");
        is_all && asked > 0 && count(&sources, Event::is_connected) == sources.len() + asked
    })
    .await;
    two.publish(WORKSPACE, "for all").await;
    for source in &mut sources {
        source.wait_for(DEADLINE, |event| event.data == "for all").await;
        assert_eq!(source.closed(), None);
    }
}

/// As if all containers were made again: their names lead elsewhere afterwards.
async fn brokers_that_come_back_at_other_addresses_are_found(kind: Kind) {
    const FOUND: Duration = Duration::from_secs(30);
    let address = |last| Ipv4Addr::new(127, 0, 0, last);
    let redis = RedisServer::start().await;
    let [mut one, mut two] = pair(&redis, &[]).await;
    let names = NameServer::start(&[("broker-1", address(2)), ("broker-2", address(3))]).await;
    let proxy = Proxy::start_with_names(kind, &one, &names).await;
    eventually("a broker is found", DEADLINE, async || publish(&proxy, "before").await.status == 200).await;

    names.set(&[("broker-1", address(4)), ("broker-2", address(5))]);
    tokio::join!(one.move_to(address(4)), two.move_to(address(5)));
    eventually("the brokers are found again", FOUND, async || publish(&proxy, "after").await.status == 200)
        .await;
    // Not by one lucky request alone.
    for _ in 0..4 {
        connect(&proxy).await;
    }
}

async fn a_client_that_left_is_gone_at_the_broker(kind: Kind) {
    // Apache finds out when it writes; for the others nothing is written.
    let heartbeat_seconds = if kind == Kind::Apache { 1 } else { 60 };
    let options = open_to_proxies().set("sse.heartbeat_seconds", heartbeat_seconds);
    let broker = Broker::start_ready(options).await;
    let proxy = Proxy::start(kind, [&broker, &broker], &[]).await;
    let client = connect(&proxy).await;
    assert_eq!(broker.status().await["subscribers"], 1);
    drop(client);
    let gone = Duration::from_secs(5);
    eventually("the stream is gone", gone, async || broker.status().await["subscribers"] == 0).await;
}

async fn more_streams_are_carried_than_by_default(kind: Kind) {
    // Apache's threads are the most that a small machine should start; Debian's Apache ends at 150.
    let streams = if kind == Kind::Apache { 300 } else { 1100 };
    let broker = Broker::start_ready(open_to_proxies()).await;
    let proxy = match kind {
        // The operator has to raise its limit, as its file says.
        Kind::Envoy => Proxy::start(kind, [&broker, &broker], &[]).await,
        _ => Proxy::start_with_few_files(kind, &broker).await,
    };
    let mut clients = Vec::new();
    for _ in 0..streams {
        clients.push(connect(&proxy).await);
    }
    assert_eq!(broker.status().await["subscribers"], streams);
    for client in &clients {
        assert_eq!(client.end(), None);
    }
}

#[tokio::test]
async fn haproxy_speaks_http_2_over_tls() {
    let broker = Broker::start_ready(open_to_proxies()).await;
    let proxy = Proxy::start(Kind::HaProxy, [&broker, &broker], &[]).await;
    let path = format!("/api/workspaces/{WORKSPACE}/events");
    let curl = curl_over_http2(proxy.tls_address().port(), &path, proxy.authority());
    let curl = Program::start("curl", curl);
    eventually("the connected event", DEADLINE, async || curl.log().contains("connected")).await;
    assert!(curl.log().starts_with("HTTP/2 200"), "{}", curl.log());
    assert!(publish(&proxy, "by HTTP/2").await.status.is_success());
    eventually("the event", DEADLINE, async || curl.log().contains("data: by HTTP/2\n")).await;
}

/// `deploy/nginx-host.conf`, in Debian's nginx: an application and its broker behind one name.
#[tokio::test]
async fn nginx_parts_an_application_from_its_broker() {
    let mut broker = Broker::start_ready(open_to_proxies()).await;
    let host = NginxHost::start(&broker).await;
    let ask = async |method: &'static str, path: &str| host.request(method, path).await;
    for path in [
        "/",
        "/api/workspaces/",
        "/api/workspaces/demo",
        "/api/workspaces/demo/events/7",
        "/api/ticketsystem",
    ] {
        let answer = ask("GET", path).await;
        assert!(
            answer.starts_with("HTTP/2 200") && answer.ends_with(&format!("the app at {path}")),
            "{answer}"
        );
    }
    assert!(ask("GET", "/internal/tidings/demo").await.starts_with("HTTP/2 404"));
    assert!(ask("GET", "/api/workspaces/demo/position").await.contains(r#"{"position":""#));
    assert!(ask("GET", "/api/workspaces/demo/access").await.starts_with("HTTP/2 204"));
    assert!(ask("POST", "/api/workspaces/demo/events").await.contains(r#"{"id":""#));
    let ticket = ask("POST", "/api/tickets").await;
    assert!(ticket.contains("urn:tidings:problem:bad-ticket-request"), "{ticket}");

    let curl = host.stream(WORKSPACE, "a=b");
    eventually("the connected event", DEADLINE, async || curl.log().contains("connected")).await;
    assert!(curl.log().starts_with("HTTP/2 200"), "{}", curl.log());
    broker.kill();
    let away = ask("GET", "/api/workspaces/demo/events").await;
    assert!(away.starts_with("HTTP/2 200") && away.contains("content-type: text/event-stream"), "{away}");
    let (_, body) = away.split_once("\r\n\r\n").unwrap();
    assert!(body.starts_with("retry: ") && body.contains("\nevent: tidings.reconnect\ndata: {"), "{away}");
    assert_eq!(body.matches("\n\n").count(), 1, "{away}");
    assert!(ask("POST", "/api/workspaces/demo/events").await.starts_with("HTTP/2 503"));
    assert!(ask("GET", "/api/workspaces/demo/access").await.starts_with("HTTP/2 503"));
}
