//! More than a workspace takes.

use super::EVENTS;
use crate::support::http::{self, Response};
use crate::support::test_cluster::{on_both_buses, publish_live};
use crate::support::{Bus, DEADLINE, TestCluster, eventually};

on_both_buses!(over_http_the_surplus_is_refused, excess_events_of_the_bus_are_dropped_with_a_reset);

async fn post(cluster: &TestCluster, target: &str, body: impl Into<bytes::Bytes>) -> Response {
    http::request(cluster.broker.address(), "POST", target, &[], body).await
}

async fn over_http_the_surplus_is_refused(bus: Bus) {
    let settings = [
        ("limits.event_bytes", "1000"),
        ("limits.events_per_second", "20"),
        ("limits.event_bytes_per_second", "2000"),
    ];
    let cluster = TestCluster::start_with(bus, &settings).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let batch = format!("{EVENTS}?batch=1");
    for too_much in ["x\n".repeat(21), format!("{0}\n{0}\n{0}", "x".repeat(700))] {
        let response = post(&cluster, &batch, too_much).await;
        assert_eq!(response.status, 413, "{}", response.text());
        assert_eq!(response.json()["type"], "urn:tidings:problem:batch-too-large");
    }
    for (each, what) in [("x\n".repeat(15), "events"), (format!("{0}\n{0}", "y".repeat(900)), "bytes")] {
        // As fast as it goes: sooner or later this is more than there is.
        let refused = loop {
            let response = post(&cluster, &batch, each.clone()).await;
            if response.status != 200 {
                break response;
            }
        };
        assert_eq!(refused.status, 429, "{what}: {}", refused.text());
        assert_eq!(refused.json()["type"], "urn:tidings:problem:rate-limited");
        assert!(["1", "2"].contains(&refused.header("retry-after")), "{}", refused.header("retry-after"));
        // Another workspace has a rate of its own.
        assert_eq!(post(&cluster, "/api/workspaces/other/events", "x").await.status, 200);
        eventually("the workspace takes events again", DEADLINE, async || {
            post(&cluster, &batch, each.clone()).await.status == 200
        })
        .await;
    }
    // An accepted event was not dropped on its way.
    assert_eq!(cluster.broker.status().await["counters"]["eventsDropped"]["rate-limited"], 0);
    assert!(client.events().iter().all(|event| event.kind != "tidings.reset"));
}

async fn excess_events_of_the_bus_are_dropped_with_a_reset(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("limits.events_per_second", "10")]).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let mut connection = cluster.connection().await;
    let began = std::time::Instant::now();
    for number in 0..200 {
        publish_live(&mut connection, "acme", number.to_string()).await;
    }
    let is_reset = |event: &crate::support::Event| event.kind == "tidings.reset";
    let reset = client.wait_for(DEADLINE, is_reset).await;
    assert_eq!(reset.json()["reason"], "rate-limited");
    // Once the pending word is out, events pass again.
    eventually("an event passes", DEADLINE, async || {
        publish_live(&mut connection, "acme", "after").await;
        client.application_data().iter().any(|data| data == "after")
    })
    .await;
    let seconds = began.elapsed().as_secs() + 1;
    let (resets, data) =
        (client.events().into_iter().filter(is_reset).count() as u64, client.application_data());
    assert!(resets <= 1 + seconds, "{resets} resets within {seconds} s");
    assert!(data.len() as u64 <= 20 + 10 * seconds, "{} events within {seconds} s", data.len());
    // A reset precedes each event behind a gap.
    let events = client.events();
    let mut expected = Some(0);
    for event in events.iter().filter(|event| is_reset(event) || event.data.parse::<u64>().is_ok()) {
        match event.data.parse::<u64>() {
            Ok(number) => {
                assert!(
                    expected.is_none_or(|expected| expected == number),
                    "{number} came, not {expected:?}"
                );
                expected = Some(number + 1);
            }
            Err(_) => expected = None,
        }
    }
    let dropped =
        cluster.broker.status().await["counters"]["eventsDropped"]["rate-limited"].as_u64().unwrap();
    assert!(dropped >= 200 - 20 - 10 * seconds, "{dropped}");
}
