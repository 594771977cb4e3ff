//! Many clients that resume at once.

use std::time::{Duration, Instant};

use super::{broker_on, numbers, read};
use crate::support::{Connect, DEADLINE, RedisServer, http, median};

/// The count of calls of a command since the server started.
async fn calls(server: &RedisServer, command: &str) -> u64 {
    let stats = server.info("commandstats").await;
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

/// The node that they were on is gone; another one has none of it in memory.
#[tokio::test]
async fn crowd_at_one_position_costs_few_reads() {
    const CROWD: usize = 500;
    let server = RedisServer::start().await;
    let broker = broker_on(&server).await;
    let place = broker.publish("acme", "the last that all have seen").await;
    for number in 0..50 {
        broker.publish("acme", &number.to_string()).await;
    }
    let before = calls(&server, "xrange").await;
    let connect = || broker.connect_with("acme", Connect::after(&place));
    let crowd = futures_util::future::join_all((0..CROWD).map(|_| connect())).await;
    for mut client in crowd {
        assert_eq!(client.connected().await.json()["resumed"], true);
        assert_eq!(read(&mut client, 50).await, numbers(0..50));
    }
    let spent = calls(&server, "xrange").await - before;
    // The publish script runs XRANGE too, but no publisher is active here.
    assert!((1..=5).contains(&spent), "{spent} XRANGE for {CROWD} clients");
}

/// Clients that are given a long past and do not take it.
#[tokio::test]
async fn live_events_do_not_wait_for_stalled_replays() {
    let server = RedisServer::start().await;
    let broker = broker_on(&server).await;
    let batch = vec!["x".repeat(10_000); 300].join("\n");
    let target = "/api/workspaces/acme/events?batch=1";
    let response = http::request(broker.address(), "POST", target, &[], batch).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let mut live = broker.connect("acme").await;
    live.connected().await;
    // Each begins at another place, so that they share nothing.
    let mut stuck = Vec::new();
    for id in response.json()["ids"].as_array().unwrap().iter().take(40) {
        let client = broker.connect_with("acme", Connect::after(id.as_str().unwrap())).await;
        client.stop_reading();
        stuck.push(client);
    }
    let mut times = Vec::new();
    for number in 0..20 {
        let began = Instant::now();
        broker.publish("acme", &number.to_string()).await;
        assert_eq!(read(&mut live, 1).await, [number.to_string()]);
        times.push(began.elapsed());
    }
    assert!(median(times.clone()) < Duration::from_secs(2), "{times:?}");
    for client in &mut stuck {
        client.resume_reading();
        let last =
            client.wait_for(DEADLINE, |event| event.data == "19" || event.kind == "tidings.reconnect").await;
        assert!(last.data == "19" || last.json()["reason"] == "lagging", "{last:?}");
    }
}
