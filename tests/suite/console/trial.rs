//! "Try it": a stream and a publication by the console's API.

use serde_json::json;

use super::{TOKEN, ask, options, read};
use crate::support::Broker;
use crate::support::directory::Directory;
use crate::support::ports::Port;
use crate::support::sse::{Connect, SseClient};

#[tokio::test]
async fn event_of_the_console_reaches_all_streams() {
    let broker = Broker::start_ready(options()).await;
    let mut client = broker.connect("demo").await;
    client.connected().await;
    let connect = Connect { base_path: "/api/console".to_owned(), ..Connect::default() };
    let connect = connect.header("Authorization", &format!("Bearer {TOKEN}"));
    let mut of_console = SseClient::connect(broker.admin(), "demo", connect).await;
    of_console.connected().await;
    let body = r#"{"workspace":"demo","type":"CREATED","data":{"n": 1.50}}"#;
    let response = ask(&broker, "POST", "/api/console/publish", body).await;
    assert_eq!(response.status, 200, "{:?}", response.body);
    let answer = response.json();
    assert_eq!(answer["payload"], r#"{"type":"CREATED","n": 1.50}"#);
    for client in [&mut client, &mut of_console] {
        let event = client.application_event().await;
        assert_eq!((json!(event.data), json!(event.id)), (answer["payload"].clone(), answer["id"].clone()));
    }
    let found = read(&broker, "/api/console/workspaces/demo").await;
    assert_eq!(found["streamCount"], 2, "the stream of the console is one of the node: {found}");
}

/// The page reconnects as any `EventSource` does.
#[tokio::test]
async fn stream_of_the_console_resumes() {
    let broker = Broker::start_ready(options()).await;
    let first = broker.publish("demo", "1").await;
    broker.publish("demo", "2").await;
    let connect = Connect { base_path: "/api/console".to_owned(), ..Connect::default() };
    let connect = connect.header("Authorization", &format!("Bearer {TOKEN}")).header("Last-Event-ID", &first);
    let mut client = SseClient::connect(broker.admin(), "demo", connect).await;
    assert_eq!(client.application_event().await.data, "2");
}

#[tokio::test]
async fn publication_of_the_console_passes_the_limits_of_any_other() {
    let broker = Broker::start_ready(options().set("limits.event_bytes", 100)).await;
    let body = json!({ "workspace": "demo", "data": "x".repeat(200) }).to_string();
    let response = ask(&broker, "POST", "/api/console/publish", &body).await;
    assert_eq!(response.status, 413, "{:?}", response.body);
    assert_eq!(read(&broker, "/api/console/workspaces/demo").await["log"]["length"], 0);
}

/// The lines for a terminal carry no secret of the configuration.
#[tokio::test]
async fn facts_of_the_node_name_its_addresses_without_secrets() {
    let password = "a password of the embedded bus";
    let broker = Broker::start_ready(options().set("embedded.password", password)).await;
    let node = read(&broker, "/api/console/node").await;
    assert_eq!(node["public"], format!("http://{}/api", broker.address()));
    let redis_cli = node["redisCli"].as_str().unwrap();
    assert_eq!(redis_cli, format!("REDISCLI_AUTH=… redis-cli -p {}", broker.embedded().port()));
    assert!(!node.to_string().contains(password));
}

/// "All addresses" is none that a client can use, and another loopback address is not the default
/// one of `redis-cli`.
#[tokio::test]
async fn commands_name_addresses_that_a_client_can_use() {
    let any = options().on_all_addresses().set("auth.mode", "none");
    let broker = Broker::start_ready(any).await;
    let node = read(&broker, "/api/console/node").await;
    assert_eq!(node["public"], format!("http://127.0.0.1:{}/api", broker.address().port()));

    let directory = Directory::new();
    let path = directory.file("http.sock");
    let port = Port::claim();
    let options = options()
        .set("server.listen", format!("unix:{}", path.display()))
        .set("embedded.listen", format!("127.0.0.3:{}", port.number()));
    let broker = Broker::start_ready(options).await;
    let node = read(&broker, "/api/console/node").await;
    assert_eq!((&node["public"], &node["publicSocket"]), (&json!("http://localhost/api"), &json!(path)));
    assert_eq!(node["redisCli"], format!("redis-cli -h 127.0.0.3 -p {}", port.number()));
}
