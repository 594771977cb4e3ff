//! The list of workspaces, and one of them.

use serde_json::{Value, json};

use super::{TOKEN, ask, options, read};
use crate::support::sse::{Connect, EventSource};
use crate::support::test_cluster::on_both_buses;
use crate::support::token::{JWT, bearer, token};
use crate::support::{
    Broker, BrokerOptions, Bus, DEADLINE, RedisServer, TestCluster, eventually, eventually_some,
};

on_both_buses!(one_workspace_shows_its_log_and_events, disconnect_ends_one_stream, ban_keeps_a_user_out,);

const WITH_TOKEN: (&str, &str) = ("admin.token", TOKEN);

/// The ids of a list, in its order.
fn ids(list: &Value) -> Vec<&str> {
    list["workspaces"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

fn rows<'a>(document: &'a Value, name: &str) -> &'a Vec<Value> {
    document[name].as_array().unwrap()
}

#[tokio::test]
async fn list_is_sorted_searched_and_cut() {
    let broker = Broker::start_ready(options()).await;
    let mut clients = Vec::new();
    for (workspace, count) in [("alpha", 1), ("beta", 3), ("alphabet", 2)] {
        for _ in 0..count {
            let mut client = broker.connect(workspace).await;
            client.connected().await;
            clients.push(client);
        }
    }
    let list = eventually_some("all streams are in the list", DEADLINE, async || {
        let list = read(&broker, "/api/console/workspaces").await;
        (rows(&list, "workspaces").first()?["streams"] == 3 && list["count"] == 3).then_some(list)
    })
    .await;
    assert_eq!(ids(&list), ["beta", "alphabet", "alpha"]);
    let found = read(&broker, "/api/console/workspaces?search=alpha&limit=1").await;
    assert_eq!((ids(&found), &found["matched"], &found["count"]), (vec!["alphabet"], &json!(2), &json!(3)));
    assert_eq!(ids(&read(&broker, "/api/console/workspaces?search=none").await), [""; 0]);

    // A workspace with many small events and one with few large ones.
    for _ in 0..5 {
        broker.publish("alpha", r#"{"type":"T"}"#).await;
    }
    broker.publish("alphabet", &format!(r#"{{"type":"{}"}}"#, "x".repeat(10_000))).await;
    let (events, bytes) = eventually_some("a pass has seen the events", DEADLINE, async || {
        // Both lists are of one pass, if no other one came in between.
        let events = read(&broker, "/api/console/workspaces?sort=events").await;
        let bytes = read(&broker, "/api/console/workspaces?sort=bytes").await;
        let has_rates = |list: &Value| rows(list, "workspaces")[0]["eventsPerSecond"].as_f64() > Some(0.0);
        (has_rates(&events) && has_rates(&bytes)).then_some((events, bytes))
    })
    .await;
    assert_eq!((ids(&events)[0], ids(&bytes)[0]), ("alpha", "alphabet"));
    assert!(rows(&bytes, "workspaces")[0]["ringBytes"].as_u64().unwrap() > 10_000);
}

async fn one_workspace_shows_its_log_and_events(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[WITH_TOKEN]).await;
    let broker = &cluster.broker;
    broker.ready().await;
    let path = "/api/console/workspaces/acme";
    let empty = read(broker, path).await;
    assert_eq!((&empty["log"]["length"], &empty["onNode"]), (&json!(0), &Value::Null));
    assert!(rows(&empty, "events").is_empty() && rows(&empty, "streams").is_empty());

    let oldest = broker.publish("acme", r#"{"type":"A","n":1}"#).await;
    let mut client = broker.connect("acme").await;
    let connection = client.connected().await.json()["connectionId"].clone();
    let newest = broker.publish("acme", "two\nlines").await;
    cluster.publish_live("acme", r#"{"type":"L"}"#).await;
    let target = "/api/workspaces/acme/events?envelope=1";
    let private = r#"{"to":["u1"],"data":{"type":"P"}}"#;
    let response =
        crate::support::http::request(broker.address(), "POST", target, &[], private.to_owned()).await;
    let private = response.json()["id"].as_str().expect("an id").to_owned();

    let found = eventually_some("all events are there", DEADLINE, async || {
        let found = read(broker, path).await;
        (rows(&found, "events").len() == 4).then_some(found)
    })
    .await;
    let log = &found["log"];
    assert_eq!(
        (&log["length"], &log["oldest"], &log["newest"]),
        (&json!(3), &json!(oldest), &json!(private))
    );
    assert!(log["oldestMs"].as_u64() <= log["newestMs"].as_u64());
    let kinds: Vec<_> = rows(&found, "events").iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["durable", "live", "durable", "durable"]);
    let [hidden, live, lines, first] = &rows(&found, "events")[..] else { panic!("{found}") };
    assert_eq!(
        (&hidden["private"], hidden.get("payload"), hidden.get("eventType")),
        (&json!(true), None, None)
    );
    assert_eq!((&live["payload"], &live["eventType"]), (&json!(r#"{"type":"L"}"#), &json!("L")));
    assert_eq!((&lines["payload"], &lines["id"]), (&json!("two\nlines"), &json!(newest)));
    assert_eq!(first["payload"], r#"{"type":"A","n":1}"#);
    let shown = read(broker, &format!("{path}?private=true")).await;
    let event = &rows(&shown, "events")[0];
    assert_eq!((&event["payload"], &event["users"]), (&json!(r#"{"type":"P"}"#), &json!(["u1"])));

    let [stream] = &rows(&found, "streams")[..] else { panic!("{found}") };
    assert_eq!(stream["address"], client.local_address().to_string());
    assert_eq!(stream["connection"], connection);
    eventually("the stream has its events", DEADLINE, async || {
        let found = read(broker, path).await;
        let stream = &rows(&found, "streams")[0];
        stream["eventsBehind"] == 0 && stream["events"] == 2 && stream["bytes"].as_u64() > Some(0)
    })
    .await;
}

async fn disconnect_ends_one_stream(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[WITH_TOKEN, ("sse.retry_ms", "100")]).await;
    let broker = &cluster.broker;
    broker.ready().await;
    let mut other = broker.connect("acme").await;
    other.connected().await;
    let mut source = EventSource::open(broker.address(), "acme", Connect::default());
    let id = source.connected().await.json()["connectionId"].clone();
    let body = json!({ "disconnect": { "connection": id } }).to_string();
    assert_eq!(ask(broker, "POST", "/api/console/disconnect", &body).await.status, 202);
    let last = source.wait_for(DEADLINE, |event| event.kind == "tidings.reconnect").await;
    assert_eq!(last.json()["reason"], "disconnected");
    source.connected().await;
    assert!(other.end().is_none());
}

async fn ban_keeps_a_user_out(bus: Bus) {
    let settings = [&JWT[..], &[WITH_TOKEN, ("sse.retry_ms", "100")]].concat();
    let cluster = TestCluster::start_with(bus, &settings).await;
    let broker = &cluster.broker;
    broker.ready().await;
    let with = |user: &str| {
        Connect::default().header("Authorization", &bearer(&token(user, &["acme"], 60, &json!({}))))
    };
    let mut ann = broker.connect_with("acme", with("ann")).await;
    ann.connected().await;
    let mut ben = broker.connect_with("acme", with("ben")).await;
    ben.connected().await;
    let found = read(broker, "/api/console/workspaces/acme").await;
    let users: Vec<_> =
        rows(&found, "streams").iter().map(|stream| stream["user"].as_str().unwrap()).collect();
    assert!(users.contains(&"ann") && users.contains(&"ben"), "{found}");

    let body = json!({ "disconnect": { "user": "ann", "workspace": "acme", "for": 60 } }).to_string();
    assert_eq!(ask(broker, "POST", "/api/console/disconnect", &body).await.status, 202);
    ann.wait_end(DEADLINE).await;
    eventually("ann stays out", DEADLINE, async || {
        broker.connect_with("acme", with("ann")).await.status() == 204
    })
    .await;
    assert!(ben.end().is_none());
}

/// Streams over TLS or HTTP/2 have another writer than those over plain HTTP/1.1.
#[tokio::test]
async fn streams_of_both_writers_are_listed() {
    for (writer, name) in [("handoff", "engine"), ("body", "HTTP server")] {
        let broker = Broker::start_ready(options().set("delivery.writer", writer)).await;
        let mut all = broker.connect("acme").await;
        all.connected().await;
        let mut some = broker.connect_with("acme", Connect::query("types=A,B")).await;
        some.connected().await;
        broker.publish("acme", r#"{"type":"A"}"#).await;
        all.application_event().await;
        some.application_event().await;
        let found = eventually_some("both are there with their events", DEADLINE, async || {
            let found = read(&broker, "/api/console/workspaces/acme").await;
            let streams = rows(&found, "streams");
            (streams.len() == 2 && streams.iter().all(|stream| stream["events"] == 1)).then_some(found)
        })
        .await;
        let position = found["onNode"]["head"].clone();
        for stream in rows(&found, "streams") {
            assert_eq!(stream["phase"], "following", "{stream}");
            assert_eq!((&stream["position"], &stream["eventsBehind"]), (&position, &json!(0)), "{stream}");
            if std::env::var("WRITER").is_err() {
                assert_eq!(stream["writer"], name, "{stream}");
            }
        }
        let types: Vec<_> = rows(&found, "streams").iter().map(|stream| stream["types"].clone()).collect();
        assert!(types.contains(&Value::Null) && types.contains(&json!(["A", "B"])), "{types:?}");
        drop(all);
        eventually("one is left", DEADLINE, async || {
            read(&broker, "/api/console/workspaces/acme").await["streamCount"] == 1
        })
        .await;
    }
}

#[tokio::test]
async fn stream_behind_shows_the_events_that_it_lacks() {
    let broker = Broker::start_ready(options().set("server.send_buffer_bytes", 4096)).await;
    let slow = Connect { receive_buffer: Some(4096), ..Connect::default() };
    let mut slow = broker.connect_with("acme", slow).await;
    slow.connected().await;
    slow.stop_reading();
    let payload = format!(r#"{{"type":"T","text":"{}"}}"#, "x".repeat(10_000));
    eventually_some("it lacks events", DEADLINE, async || {
        broker.publish("acme", &payload).await;
        let found = read(&broker, "/api/console/workspaces/acme").await;
        let stream = rows(&found, "streams").first()?.clone();
        (stream["eventsBehind"].as_u64() > Some(0)).then_some(())
    })
    .await;
    let overview = read(&broker, "/api/console/workspaces/acme").await;
    assert_eq!(overview["streamCount"], 1);
}

#[tokio::test]
async fn long_list_of_streams_is_cut_and_counted() {
    let broker = Broker::start_ready(options()).await;
    let mut clients = Vec::new();
    for _ in 0..105 {
        let mut client = broker.connect("acme").await;
        client.connected().await;
        clients.push(client);
    }
    let found = read(&broker, "/api/console/workspaces/acme").await;
    assert_eq!((rows(&found, "streams").len(), &found["streamCount"]), (100, &json!(105)));
}

#[tokio::test]
async fn payloads_are_kept_out_by_a_setting() {
    let broker = Broker::start_ready(options().set("admin.payloads", "false")).await;
    let secret = "a payload that nobody sees here";
    broker.publish("acme", &format!(r#"{{"type":"SECRET_TYPE","text":"{secret}"}}"#)).await;
    let mut client = broker.connect_with("acme", Connect::query("types=SECRET_TYPE")).await;
    client.connected().await;
    for path in ["/api/console/workspaces/acme", "/api/console/workspaces/acme?private=true"] {
        let response = ask(&broker, "GET", path, "").await;
        assert!(!response.text().contains(secret) && !response.text().contains("SECRET_TYPE"), "{path}");
        assert_eq!(rows(&response.json(), "events").len(), 1);
    }
    let stream = ask(&broker, "GET", "/api/console/workspaces/acme/events", "").await;
    assert_eq!(stream.status, 403, "a stream shows payloads");
    assert_eq!(read(&broker, "/api/console/node").await["payloads"], false);
}

#[tokio::test]
async fn log_of_an_absent_bus_is_reported_as_unreadable() {
    let mut server = crate::support::RedisServer::start().await;
    let options = crate::support::BrokerOptions::redis(&server).set("admin.token", TOKEN);
    let broker = Broker::start_ready(options).await;
    server.stop();
    let found = read(&broker, "/api/console/workspaces/acme").await;
    assert!(found["log"]["error"].is_string(), "{found}");
    let body = json!({ "disconnect": { "user": "u" } }).to_string();
    assert_eq!(ask(&broker, "POST", "/api/console/disconnect", &body).await.status, 503);
}

/// A browser takes the segments `.` and `..` out of a path.
#[tokio::test]
async fn workspace_of_dots_is_found_behind_an_equals_sign() {
    let broker = Broker::start_ready(options()).await;
    for id in [".", "..", "demo"] {
        let found = read(&broker, &format!("/api/console/workspaces/={id}")).await;
        assert_eq!(found["workspace"], id);
    }
    let connect = Connect { base_path: "/api/console".to_owned(), ..Connect::default() };
    let connect = connect.header("Authorization", &format!("Bearer {TOKEN}"));
    let mut stream = crate::support::sse::SseClient::connect(broker.admin(), "=..", connect).await;
    assert!(stream.connected().await.data.contains(r#""workspaceId":"..""#));
}

/// Another program may write entries to the log.
#[tokio::test]
async fn entry_without_data_hides_nothing() {
    let server = RedisServer::start().await;
    let broker = Broker::start_ready(BrokerOptions::redis(&server).set("admin.token", TOKEN)).await;
    server.command::<String>(&["XADD", "workspace:demo", "*", "other", "1"]).await;
    server.command::<String>(&["XADD", "workspace:demo", "*", "data", "1", "to", "[\"ann\"]"]).await;
    let found = read(&broker, "/api/console/workspaces/demo").await;
    let hidden: Vec<_> = rows(&found, "events").iter().map(|row| row["hidden"].as_bool().unwrap()).collect();
    assert_eq!(hidden, [true, false], "the private one is the newer: {found}");
}
