//! Connections that carry one request after another.

use std::time::{Duration, Instant};

use crate::support::raw::{RawConnection, head};
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually};

const TARGET: &str = "/api/workspaces/acme/events";

fn options() -> BrokerOptions {
    BrokerOptions::embedded().set("server.header_timeout_seconds", 0.4)
}

#[tokio::test]
async fn idle_connection_outlives_the_header_timeout() {
    let broker = Broker::start(options().set("server.idle_timeout_seconds", 3)).await;
    for address in [broker.address(), broker.admin()] {
        let mut connection = RawConnection::open(address).await;
        let mut began = Instant::now();
        for pause in [0, 1, 1] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            began = Instant::now();
            let response = connection.exchange(head("PUT", "/live", &[])).await;
            assert!(response.status.is_client_error(), "{}", response.status);
            assert_eq!(response.header("keep-alive"), "timeout=3");
        }
        // The default is two minutes.
        connection.closed(DEADLINE).await;
        assert!(began.elapsed() > Duration::from_millis(2500), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn default_outlives_the_idle_connections_of_common_proxies() {
    // nginx keeps them for 60 seconds, load balancers of clouds for up to 75.
    let broker = Broker::start(BrokerOptions::embedded()).await;
    let mut connection = RawConnection::open(broker.address()).await;
    let response = connection.exchange(head("PUT", TARGET, &[])).await;
    let seconds = response.header("keep-alive").strip_prefix("timeout=").unwrap().parse::<u64>().unwrap();
    assert!(seconds > 75, "{seconds}");
}

#[tokio::test]
async fn later_head_that_has_begun_has_the_header_timeout() {
    let broker = Broker::start(options().set("server.idle_timeout_seconds", 600)).await;
    let mut connection = RawConnection::open(broker.address()).await;
    assert_eq!(connection.exchange(head("PUT", TARGET, &[])).await.status, 405);
    // A body does not count as the beginning of a head.
    let publish = head("POST", TARGET, &[("Content-Length", "1")]);
    assert_eq!(connection.exchange(format!("{publish}x")).await.status, 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    connection.send("GET / HTTP/1.1\r\nHost: ").await;
    connection.closed(DEADLINE).await;
    eventually("it is gone", DEADLINE, async || broker.status().await["connections"] == 0).await;
}

/// By the HTTP server's own writer, which takes further requests.
#[tokio::test]
async fn connection_is_idle_again_after_a_stream() {
    let options = options().set("server.idle_timeout_seconds", 1).set("delivery.writer", "body");
    let broker = Broker::start_ready(options.set("server.write_timeout_seconds", 1)).await;
    let mut connection = RawConnection::open(broker.address()).await;
    connection.send(head("GET", TARGET, &[("Accept", "text/event-stream")])).await;
    connection.read_until("connected").await;
    let order = r#"{"disconnect":{"workspace":"acme"}}"#;
    let client = redis::Client::open(format!("redis://{}", broker.embedded())).unwrap();
    let mut bus = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("PUBLISH").arg("tidings:control").arg(order).exec_async(&mut bus).await.unwrap();
    connection.read_until("disconnected").await;
    connection.closed(DEADLINE).await;
    eventually("it is gone", DEADLINE, async || broker.status().await["connections"] == 0).await;
}
