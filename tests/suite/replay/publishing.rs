//! The ways to publish durably.

use crate::support::http::{self, Response};
use crate::support::test_cluster::on_both_buses;
use crate::support::{Bus, DEADLINE, TestCluster, eventually};

on_both_buses!(
    a_batch_comes_in_order_and_whole,
    the_same_key_publishes_once,
    the_function_publishes,
    plain_commands_publish,
    the_history_lists_the_log,
    a_tail_may_begin_in_the_past,
);

async fn post(cluster: &TestCluster, query: &str, key: &str, body: impl Into<bytes::Bytes>) -> Response {
    let target = format!("/api/workspaces/acme/events{query}");
    let headers: &[(&str, &str)] = if key.is_empty() { &[] } else { &[("idempotency-key", key)] };
    http::request(cluster.broker.address(), "POST", &target, headers, body).await
}

async fn a_batch_comes_in_order_and_whole(bus: Bus) {
    let cluster =
        TestCluster::start_with(bus, &[("limits.event_bytes", "100"), ("limits.batch_bytes", "20000")]).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let lines: Vec<_> = (0..1000).map(|number| format!("{{\"n\":{number}}}")).collect();
    let response = post(&cluster, "?batch=1", "", lines.join("\n")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let answer = response.json();
    let ids: Vec<_> = answer["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    for (line, id) in lines.iter().zip(&ids) {
        let event = client.application_event().await;
        assert_eq!((&event.data, event.id.as_str()), (line, *id));
    }
    assert_eq!(ids.len(), 1000);

    for (body, status, kind) in [
        (format!("{}\n1", lines.join("\n")), 413, "batch-too-large"),
        (format!("ok\n{}", "x".repeat(101)), 413, "event-too-large"),
        ("x".repeat(20_001), 413, "event-too-large"),
        ("\n\r\n".to_owned(), 400, "empty-event"),
    ] {
        let response = post(&cluster, "?batch=1", "", body).await;
        assert_eq!(response.status, status, "{}", response.text());
        assert_eq!(response.json()["type"], format!("urn:tidings:problem:{kind}"));
    }
    // None of a refused batch was published: the next event is this one.
    post(&cluster, "", "", "after").await;
    assert_eq!(client.application_event().await.data, "after");
}

async fn the_same_key_publishes_once(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let first = post(&cluster, "", "\"order-7\"", "one").await.json();
    let again = post(&cluster, "", "order-7", "something else").await.json();
    assert_eq!(first, again, "a key in quotes is the same key");
    let batch = post(&cluster, "?batch=1", "batch-7", "two\nthree\n").await.json();
    assert_eq!(post(&cluster, "?batch=1", "batch-7", "two\nthree\n").await.json(), batch);
    post(&cluster, "", "order-8", "four").await;
    for expected in ["one", "two", "three", "four"] {
        assert_eq!(client.application_event().await.data, expected);
    }
    for bad in ["a b", "\u{e4}", &"x".repeat(129), "\"\""] {
        let response = post(&cluster, "", bad, "x").await;
        assert_eq!(response.json()["type"], "urn:tidings:problem:bad-idempotency-key", "{bad}");
    }
}

async fn the_function_publishes(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    if bus == Bus::Redis {
        eventually("the function is loaded", DEADLINE, async || {
            cluster.broker.status().await["bus"]["publishFunction"] == "loaded"
        })
        .await;
    }
    let mut connection = cluster.connection().await;
    let mut call = redis::cmd("FCALL");
    call.arg("tidings_publish").arg(1).arg("workspace:acme").arg("{}");
    let id: String = call.query_async(&mut connection).await.unwrap();
    let event = client.application_event().await;
    assert_eq!((event.id, event.data.as_str()), (id, "{}"));
    let keyed = call.arg("").arg("").arg("once");
    let first: String = keyed.query_async(&mut connection).await.unwrap();
    let again: String = keyed.query_async(&mut connection).await.unwrap();
    assert_eq!(first, again);
}

async fn plain_commands_publish(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut client = cluster.broker.connect("acme").await;
    client.connected().await;
    let mut connection = cluster.connection().await;
    for number in 0..3 {
        let mut transaction = redis::pipe();
        transaction.atomic();
        transaction.cmd("XADD").arg("workspace:acme").arg("MAXLEN").arg("~").arg(1000).arg("*");
        transaction.arg("data").arg(number.to_string());
        transaction.cmd("PUBLISH").arg("workspace:acme").arg("");
        let (id, _): (String, u64) = transaction.query_async(&mut connection).await.unwrap();
        let event = client.application_event().await;
        assert_eq!((event.id, event.data), (id, number.to_string()));
    }
}

async fn the_history_lists_the_log(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let ids = [
        cluster.broker.publish("acme", "{\"n\":1}").await,
        cluster.broker.publish("acme", "two\nlines").await,
    ];
    let history = |arguments: &[&str]| {
        let mut command = crate::support::broker::tidings();
        command.arg("history").arg("acme").args(arguments);
        match bus {
            Bus::Redis => command.env("TIDINGS__REDIS__URL", cluster.redis().url()),
            Bus::Embedded => command.env("TIDINGS__EMBEDDED__LISTEN", cluster.broker.embedded().to_string()),
        };
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = history(&[]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[0].starts_with(&ids[0]) && lines[0].ends_with("{\"n\":1}"), "{table}");
    assert!(lines[1].starts_with(&ids[1]) && lines[1].ends_with("two lines"), "{table}");
    let newest: serde_json::Value = serde_json::from_str(history(&["--last", "1", "--json"]).trim()).unwrap();
    assert_eq!((newest["id"].as_str(), newest["data"].as_str()), (Some(ids[1].as_str()), Some("two\nlines")));
}

async fn a_tail_may_begin_in_the_past(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(cluster.broker.publish("acme", &number.to_string()).await);
    }
    let milliseconds = ids[1].split('-').next().unwrap();
    let url = format!("http://{}/api", cluster.broker.address());
    // Two of them may have been logged in the same millisecond.
    let since = ids.iter().position(|id| id.starts_with(milliseconds)).unwrap();
    for (arguments, expected) in [
        (["--last", "2"], "1\n2\n".to_owned()),
        (["--last-event-id", &ids[0]], "1\n2\n".to_owned()),
        (["--since", milliseconds], (since..3).map(|number| format!("{number}\n")).collect()),
    ] {
        let mut command = crate::support::broker::tidings();
        command.args(["tail", "acme", "--url", &url, "--count", &expected.lines().count().to_string()]);
        let output = tokio::process::Command::from(command).args(arguments).kill_on_drop(true).output();
        let output = tokio::time::timeout(DEADLINE, output).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{arguments:?}");
    }
}
