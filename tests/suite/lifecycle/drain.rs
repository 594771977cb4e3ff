//! The end of a broker after a signal.

use std::collections::HashSet;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::raw::{RawConnection, head};
use crate::support::test_cluster::on_both_buses;
use crate::support::{
    Broker, BrokerOptions, Bus, Connect, DEADLINE, End, EventSource, RedisOptions, RedisServer, SseClient,
    TestCluster, eventually, http, some_round_within,
};

on_both_buses!(
    streams_get_reconnects_spread_over_the_drain,
    the_broker_goes_on_serving_until_the_delay_is_over,
    whole_events_only_also_at_the_end,
    idle_connections_do_not_hold_the_drain,
);

async fn greeted(broker: &Broker, count: usize) -> Vec<SseClient> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = broker.connect("acme").await;
        client.connected().await;
        clients.push(client);
    }
    clients
}

async fn streams_get_reconnects_spread_over_the_drain(bus: Bus) {
    const CLIENTS: usize = 60;
    let settings =
        [("server.drain_delay_seconds", "0"), ("server.drain_seconds", "2"), ("sse.retry_ms", "4000")];
    let mut cluster = TestCluster::start_with(bus, &settings).await;
    let mut clients = greeted(&cluster.broker, CLIENTS).await;
    let told = Instant::now();
    cluster.broker.signal(Signal::SIGTERM);
    let mut ends = Vec::new();
    let mut retries = Vec::new();
    for client in &mut clients {
        assert_eq!(client.wait_end(DEADLINE).await, End::Clean);
        let (at, last) = client.timed_events().pop().unwrap();
        assert_eq!(last.kind, "tidings.reconnect");
        let data = last.json();
        let retry = data["retryMs"].as_u64().unwrap();
        assert_eq!(data, serde_json::json!({ "reason": "draining", "retryMs": retry }));
        assert_eq!(client.retries().len(), 2, "one at the begin and one at the end");
        assert_eq!(client.retries()[1], retry);
        ends.push(at.duration_since(told));
        retries.push(retry);
    }
    assert_eq!(cluster.broker.ended(DEADLINE).await.code(), Some(0));

    // Over two seconds: 60 ends fill most of 20 tenths of a second. A busy machine joins some of
    // them. Ends at once are in one or two.
    let tenths: HashSet<_> = ends.iter().map(|end| end.as_millis() / 100).collect();
    assert!(tenths.len() >= 8, "{ends:?}");
    assert!(ends.iter().max().unwrap() >= &Duration::from_millis(1400), "{ends:?}");
    assert!(retries.iter().all(|retry| (3000..=5000).contains(retry)), "{retries:?}");
    retries.sort_unstable();
    retries.dedup();
    assert!(retries.len() > CLIENTS / 2, "{retries:?}");
}

async fn the_broker_goes_on_serving_until_the_delay_is_over(bus: Bus) {
    // The delay is long enough for all steps on a busy machine.
    const DELAY: Duration = Duration::from_secs(5);
    let settings = [("server.drain_delay_seconds", "5"), ("server.drain_seconds", "0.2")];
    let mut cluster = TestCluster::start_with(bus, &settings).await;
    cluster.broker.ready().await;
    let mut old = greeted(&cluster.broker, 1).await.remove(0);
    let told = Instant::now();
    cluster.broker.signal(Signal::SIGTERM);
    eventually("it is not ready", DELAY, async || !cluster.broker.is_ready().await).await;
    let ready = http::get(cluster.broker.admin(), "/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("the node is draining"), "{}", ready.text());
    assert_eq!(http::get(cluster.broker.admin(), "/live").await.status, 200);

    // A balancer that has not looked yet sends clients here, and they are served.
    let mut new = greeted(&cluster.broker, 1).await.remove(0);
    let id = cluster.broker.publish("acme", "meanwhile").await;
    for client in [&mut old, &mut new] {
        assert_eq!(client.application_event().await.id, id);
    }
    for client in [&mut old, &mut new] {
        assert_eq!(client.event_named("tidings.reconnect").await.json()["reason"], "draining");
        assert!(told.elapsed() >= DELAY, "{:?}", told.elapsed());
        assert_eq!(client.wait_end(DEADLINE).await, End::Clean);
    }
    assert_eq!(cluster.broker.ended(DEADLINE).await.code(), Some(0));
    assert!(cluster.broker.log().contains("stopped: every connection ended"), "{}", cluster.broker.log());
}

async fn whole_events_only_also_at_the_end(bus: Bus) {
    let settings = [("server.drain_delay_seconds", "0"), ("server.drain_seconds", "0.3")];
    let mut cluster = TestCluster::start_with(bus, &settings).await;
    let mut clients = greeted(&cluster.broker, 10).await;
    let mut connection = cluster.connection().await;
    let payload = "line\n".repeat(20_000);
    let publishing = async {
        loop {
            let publish =
                redis::cmd("PUBLISH").arg("workspace:acme").arg(&payload).exec_async(&mut connection).await;
            // On the embedded bus the server goes with the broker.
            if publish.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let draining = async {
        clients[0].application_event().await;
        cluster.broker.signal(Signal::SIGTERM);
        for client in &mut clients {
            assert_eq!(client.wait_end(DEADLINE).await, End::Clean);
        }
    };
    tokio::select! {
        () = publishing => {}
        () = draining => {}
    }
    for client in &clients {
        let events = client.events();
        assert_eq!(events.last().unwrap().kind, "tidings.reconnect");
        assert!(client.application_data().iter().all(|data| *data == payload));
    }
    assert_eq!(cluster.broker.ended(DEADLINE).await.code(), Some(0));
}

async fn idle_connections_do_not_hold_the_drain(bus: Bus) {
    let settings = [("server.drain_delay_seconds", "0"), ("server.drain_seconds", "0.1")];
    let mut cluster = TestCluster::start_with(bus, &settings).await;
    // One that never sent anything, one between requests, one within a head.
    let mut silent = RawConnection::open(cluster.broker.address()).await;
    let mut idle = RawConnection::open(cluster.broker.address()).await;
    assert_eq!(idle.exchange(head("GET", "/nowhere", &[])).await.status, 404);
    let mut begun = RawConnection::open(cluster.broker.address()).await;
    begun.send("GET /api").await;
    eventually("all are there", DEADLINE, async || cluster.broker.status().await["connections"] == 3).await;

    cluster.broker.signal(Signal::SIGTERM);
    silent.closed(DEADLINE).await;
    idle.closed(DEADLINE).await;
    begun.closed(DEADLINE).await;
    assert_eq!(cluster.broker.ended(DEADLINE).await.code(), Some(0));
    // Otherwise the node closes them itself after a while, and logs that.
    assert!(cluster.broker.log().contains("stopped: every connection ended"), "{}", cluster.broker.log());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for (second, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let options = BrokerOptions::embedded().set("server.drain_delay_seconds", 60);
        let mut broker = Broker::start(options.set("server.drain_seconds", 60)).await;
        let mut client = broker.connect("acme").await;
        broker.signal(Signal::SIGTERM);
        eventually("it drains", DEADLINE, async || {
            http::get(broker.admin(), "/ready").await.text().contains("draining")
        })
        .await;
        assert_eq!(client.end(), None);
        broker.signal(second);
        assert_eq!(broker.ended(DEADLINE).await.code(), Some(code));
        assert!(matches!(client.wait_end(DEADLINE).await, End::Aborted(_)));
    }
}

/// With the default delay and window, and with a minute for each, which is far over the deadline.
#[tokio::test]
async fn ctrl_c_on_a_terminal_ends_every_stream_at_once() {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let input = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), terminal.slave.as_raw_fd()));
    for settings in [&[][..], &[("server.drain_delay_seconds", 60), ("server.drain_seconds", 60)]] {
        let options = BrokerOptions::embedded().reading_from(&input);
        let options = settings.iter().fold(options, |options, (key, value)| options.set(key, value));
        let mut broker = Broker::start(options).await;
        let mut client = broker.connect("acme").await;
        client.connected().await;
        broker.signal(Signal::SIGINT);
        assert_eq!(client.event_named("tidings.reconnect").await.json()["reason"], "draining");
        assert_eq!(client.wait_end(DEADLINE).await, End::Clean);
        drop(client);
        assert_eq!(broker.ended(DEADLINE).await.code(), Some(0));
    }
    // SIGTERM is a supervisor's word, on a terminal too.
    let options = BrokerOptions::embedded().reading_from(&input).set("server.drain_delay_seconds", 2);
    let mut broker = Broker::start(options.set("server.drain_seconds", 0)).await;
    let told = Instant::now();
    broker.signal(Signal::SIGTERM);
    assert_eq!(broker.ended(DEADLINE).await.code(), Some(0));
    assert!(told.elapsed() >= Duration::from_secs(2), "{:?}", told.elapsed());
}

/// Container runtimes kill ten seconds after SIGTERM.
#[tokio::test]
async fn default_drain_is_over_before_a_container_is_killed() {
    some_round_within("the end of the node", Duration::from_millis(9900), async || {
        let mut broker = Broker::start_ready(BrokerOptions::embedded()).await;
        // The node closes the connection of a client that never reads the end of its stream.
        let stalled = Connect { receive_buffer: Some(8192), ..Connect::default() };
        let mut stalled = broker.connect_with("acme", stalled).await;
        stalled.connected().await;
        stalled.stop_reading();
        for _ in 0..20 {
            broker.publish("acme", &"x".repeat(50_000)).await;
        }
        let _others = greeted(&broker, 20).await;
        let began = Instant::now();
        broker.signal(Signal::SIGTERM);
        assert_eq!(broker.ended(DEADLINE).await.code(), Some(0));
        began.elapsed()
    })
    .await;
}

#[tokio::test]
async fn signals_that_are_no_orders_end_nothing() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGHUP, Signal::SIGPIPE] {
        broker.signal(signal);
        broker.publish("acme", "still there").await;
        assert_eq!(client.application_event().await.data, "still there", "{signal}");
    }
}

#[tokio::test]
async fn ctrl_c_drains_too() {
    let options = BrokerOptions::embedded().set("server.drain_delay_seconds", 0);
    let mut broker = Broker::start(options.set("server.drain_seconds", 0)).await;
    let mut client = broker.connect("acme").await;
    broker.signal(Signal::SIGINT);
    assert_eq!(client.event_named("tidings.reconnect").await.json()["reason"], "draining");
    assert_eq!(broker.ended(DEADLINE).await.code(), Some(0));
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_hold_the_end() {
    let options = [("server.drain_delay_seconds", "0"), ("server.drain_seconds", "0")];
    let mut cluster = TestCluster::start_with(Bus::Redis, &options).await;
    let stalled = Connect { receive_buffer: Some(8192), ..Connect::default() };
    let mut stalled = cluster.broker.connect_with("acme", stalled).await;
    stalled.connected().await;
    stalled.stop_reading();
    let mut connection = cluster.connection().await;
    for _ in 0..20 {
        crate::support::test_cluster::publish_live(&mut connection, "acme", "x".repeat(50_000)).await;
    }
    // Until nothing more goes out to it: then it has far from everything.
    let mut deliveries = 0;
    let mut looks = 0;
    eventually("it is stuck", DEADLINE, async || {
        let now = cluster.broker.status().await["counters"]["deliveries"].as_u64().unwrap();
        looks = if now == deliveries && now > 0 { looks + 1 } else { 0 };
        deliveries = now;
        looks == 10
    })
    .await;
    assert!(deliveries < 20, "all of it fits into the buffers");
    cluster.broker.signal(Signal::SIGTERM);
    assert_eq!(cluster.broker.ended(DEADLINE).await.code(), Some(0));
    assert!(cluster.broker.log().contains("did not end in time were closed"), "{}", cluster.broker.log());
    // The reconnect may have gone into a buffer, where it waited in vain.
    let log = cluster.broker.log();
    let line = log.lines().find(|line| line.contains("stream ended")).unwrap();
    assert!(
        line.contains("why=\"cut at the end of the drain\"") || line.contains("why=\"draining\""),
        "{line}"
    );
}

#[tokio::test]
async fn a_broker_without_redis_ends_in_order_too() {
    let server = RedisServer::prepare(RedisOptions::default());
    let options = BrokerOptions::redis(&server).set("redis.confirm_seconds", 60);
    let options = options.set("server.drain_delay_seconds", 0).set("server.drain_seconds", 0.2);
    let mut broker = Broker::start(options).await;
    let mut held = broker.connect("acme").await;
    let tool = tokio::spawn(http::exchange_head(broker.address(), "/api/workspaces/acme/events"));
    eventually("both are held", DEADLINE, async || broker.status().await["subscribers"] == 2).await;
    broker.signal(Signal::SIGTERM);
    assert_eq!(held.event_named("tidings.reconnect").await.json()["reason"], "draining");
    assert_eq!(held.wait_end(DEADLINE).await, End::Clean);
    assert_eq!(tool.await.unwrap(), 503);
    assert_eq!(broker.ended(DEADLINE).await.code(), Some(0));
}

#[tokio::test]
async fn an_event_source_moves_on_to_the_next_process() {
    let server = RedisServer::start().await;
    let options = BrokerOptions::redis(&server).set("server.drain_delay_seconds", 0);
    let options = options.set("server.drain_seconds", 0.2).set("sse.retry_ms", 200);
    let mut broker = Broker::start(options).await;
    let mut source = EventSource::open(broker.address(), "acme", Connect::default());
    source.connected().await;
    assert_eq!(broker.terminate(DEADLINE).await, Some(0));
    broker.restart().await;
    // The position of the empty log is good on the new one too.
    let resumed = source.wait_for(DEADLINE, |event| event.data.contains("\"resumed\":true")).await;
    assert!(resumed.is_connected(), "{resumed:?}");
    server.publish("workspace:acme", "to the new one").await;
    source.wait_for(DEADLINE, |event| event.data == "to the new one").await;
    assert_eq!((source.opened(), source.closed()), (2, None));
}

#[tokio::test]
async fn live_events_delivered_before_the_end_are_marked() {
    const WORKSPACES: usize = 200;
    let settings = [("server.drain_delay_seconds", "0"), ("server.drain_seconds", "0")];
    let mut cluster = TestCluster::start_with(Bus::Redis, &settings).await;
    let mut clients = Vec::new();
    for index in 0..WORKSPACES {
        let mut client = cluster.broker.connect(&format!("w{index}")).await;
        client.connected().await;
        clients.push(client);
    }
    let mut publish = redis::pipe();
    for index in 0..WORKSPACES {
        publish.cmd("PUBLISH").arg(format!("workspace:w{index}")).arg("live").ignore();
    }
    let mut connection = cluster.connection().await;
    publish.exec_async(&mut connection).await.unwrap();
    clients[0].application_event().await;
    assert_eq!(cluster.broker.terminate(DEADLINE).await, Some(0));
    let mut delivered = 0;
    for (index, client) in clients.iter_mut().enumerate() {
        client.wait_end(DEADLINE).await;
        if !client.application_data().is_empty() {
            delivered += 1;
            let mark =
                cluster.redis().command::<u64>(&["EXISTS", &format!("{{workspace:w{index}}}/live")]).await;
            assert_eq!(mark, 1, "w{index}");
        }
    }
    assert!(delivered > 0);
}
