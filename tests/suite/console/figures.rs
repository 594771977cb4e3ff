//! The figures of the overview, against the steps of the test.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{TOKEN, options};
use crate::support::http;
use crate::support::test_cluster::publish_live;
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisOptions, RedisServer, eventually_some};

/// An open page, as far as its stream of figures goes.
struct Feed {
    socket: TcpStream,
    text: String,
}

impl Feed {
    async fn open(broker: &Broker) -> Self {
        let mut socket = TcpStream::connect(broker.admin()).await.unwrap();
        let request = format!(
            "GET /api/console/stream HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
            broker.admin()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        Self { socket, text: String::new() }
    }

    /// The next documents of a name that the reader has not seen.
    async fn next(&mut self, name: &str) -> Value {
        let begin = format!("event: {name}\ndata: ");
        let read = async {
            loop {
                if let Some((_, rest)) = self.text.split_once(&begin)
                    && let Some((document, rest)) = rest.split_once("\n\n")
                {
                    let document = serde_json::from_str(document).unwrap();
                    self.text = rest.to_owned();
                    return document;
                }
                let mut buffer = [0; 16 * 1024];
                let count = self.socket.read(&mut buffer).await.unwrap();
                assert_ne!(count, 0, "the stream ended: {}", self.text);
                // A document of a second fits into one chunk, so no framing is inside of it.
                self.text.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        };
        tokio::time::timeout(DEADLINE, read).await.expect("a document in time")
    }

    async fn overview(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let overview = self.next("overview").await;
            if wanted(&overview) {
                return overview;
            }
            assert!(tokio::time::Instant::now() < deadline, "{what}: {overview}");
        }
    }
}

#[tokio::test]
async fn overview_shows_the_traffic_of_the_node() {
    let broker = Broker::start_ready(options().set("limits.connections_per_workspace", 2)).await;
    let mut clients = [broker.connect("acme").await, broker.connect("acme").await];
    for client in &mut clients {
        client.connected().await;
    }
    assert_eq!(http::exchange_head(broker.address(), "/api/workspaces/acme/events?errors=http").await, 503);
    for number in 0..5 {
        broker.publish("acme", &format!(r#"{{"n":{number}}}"#)).await;
    }
    for client in &mut clients {
        for _ in 0..5 {
            client.application_event().await;
        }
    }
    let mut feed = Feed::open(&broker).await;
    let samples = feed.next("history").await;
    assert_eq!(samples["seconds"], 5);
    let is_settled = |seen: &Value| seen["deliveries"] == 10 && seen["connections"] == 2;
    let overview =
        feed.overview("the deliveries are counted, and the rejected client has left", is_settled).await;
    assert_eq!(
        ["streams", "workspaces", "events", "streamsBehind"].map(|name| overview[name].as_u64().unwrap()),
        [2, 1, 5, 0]
    );
    assert_eq!(overview["refusals"]["connections-per-workspace"], 1);
    assert_eq!((&overview["ready"], &overview["bus"]["state"]), (&true.into(), &"up".into()));
    assert_eq!(overview["bus"]["kind"], "embedded");
    let memory = overview["memory"].as_array().unwrap();
    let rings = memory.iter().find(|part| part["name"] == "recent events").unwrap();
    assert!(rings["bytes"].as_u64().unwrap() > 0 && rings["max"].as_u64() > rings["bytes"].as_u64());
    let rates =
        feed.overview("events have a rate", |seen| seen["eventsPerSecond"].as_f64() > Some(0.0)).await;
    assert!(rates["deliveriesPerSecond"].as_f64() > rates["eventsPerSecond"].as_f64(), "{rates}");
}

#[tokio::test]
async fn overview_says_that_the_bus_is_away() {
    let mut server = RedisServer::start().await;
    let options = BrokerOptions::redis(&server).set("admin.token", TOKEN);
    let broker = Broker::start_ready(options).await;
    let mut feed = Feed::open(&broker).await;
    let up = feed.overview("up", |seen| seen["bus"]["state"] == "up").await;
    let is_of_bus = |warning: &Value| warning["check"] == "bus";
    assert!(!up["warnings"].as_array().unwrap().iter().any(is_of_bus), "{up}");
    server.stop();
    let down = feed.overview("down", |seen| seen["bus"]["state"] == "down").await;
    let warning = down["warnings"].as_array().unwrap().iter().find(|warning| is_of_bus(warning)).cloned();
    assert!(warning.unwrap()["fix"].as_str().unwrap().contains("tidings check"));
    assert_eq!(down["ready"], false);
    let logged = feed.overview("the log's warning", |seen| {
        seen["log"]
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line["message"].as_str().unwrap().contains("no link to Redis"))
    });
    logged.await;
}

#[tokio::test]
async fn open_pages_are_bounded_and_end_with_their_session() {
    let broker = Broker::start_ready(options()).await;
    let mut feeds = Vec::new();
    for _ in 0..16 {
        let mut feed = Feed::open(&broker).await;
        feed.next("overview").await;
        feeds.push(feed);
    }
    let authorization = format!("Bearer {TOKEN}");
    let one_more = async || {
        let headers = [("authorization", authorization.as_str())];
        http::try_request(broker.admin(), "GET", "/api/console/stream", &headers, "").await.ok()
    };
    assert_eq!(one_more().await.unwrap().status, 503);
    drop(feeds);
    eventually_some("a place is free", DEADLINE, async || {
        let mut feed = Feed::open(&broker).await;
        let mut buffer = [0; 12];
        feed.socket.read_exact(&mut buffer).await.ok()?;
        (&buffer == b"HTTP/1.1 200").then_some(())
    })
    .await;

    let cookie = super::sign_in(&broker).await;
    let mut socket = TcpStream::connect(broker.admin()).await.unwrap();
    let request =
        format!("GET /api/console/stream HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n", broker.admin());
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = [0; 12];
    socket.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"HTTP/1.1 200");
    let left = http::request(broker.admin(), "DELETE", "/session", &[("cookie", &cookie)], "").await;
    assert_eq!(left.status, 204);
    let mut rest = Vec::new();
    let end = async {
        while !rest.ends_with(b"0\r\n\r\n") {
            if socket.read_buf(&mut rest).await.unwrap() == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, end).await.expect("the stream ends with its session");
}

/// Live events count as well as durable ones.
#[tokio::test]
async fn overview_counts_live_events() {
    let broker = Broker::start_ready(options()).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    let address = format!("redis://{}", broker.embedded());
    let backend = redis::Client::open(address).unwrap();
    let mut backend = crate::support::redis_server::connect(&backend).await.unwrap();
    publish_live(&mut backend, "acme", "x").await;
    client.application_event().await;
    let mut feed = Feed::open(&broker).await;
    feed.overview("one event", |seen| seen["events"] == 1 && seen["deliveries"] == 1).await;
}

/// Old counts do not hide recent ones.
#[tokio::test]
async fn reasons_of_the_last_minutes_are_counted_apart() {
    let broker = Broker::start_ready(options().set("limits.connections_per_workspace", 1)).await;
    let mut feed = Feed::open(&broker).await;
    let mut open = broker.connect("acme").await;
    open.connected().await;
    for _ in 0..3 {
        http::exchange_head(broker.address(), "/api/workspaces/acme/events?errors=http").await;
    }
    let overview = feed
        .overview("the refusals are counted", |overview| {
            overview["recent"]["refusals"]["connections-per-workspace"].as_u64() >= Some(2)
        })
        .await;
    assert_eq!(overview["recent"]["denials"], serde_json::json!({}), "reasons that never came are left out");
    assert!(overview["refusals"]["connections-per-workspace"].as_u64() >= Some(2), "{overview}");
}

/// `tidings check` reports the same.
#[tokio::test]
async fn missing_keys_and_a_broken_app_have_warnings() {
    // A bound socket that does not listen: the port refuses connections, and stays its own.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead = closed.local_addr().unwrap();
    let options = options()
        .set("auth.mode", "jwt,forward")
        .set("auth.jwt.algorithm", "RS256")
        .set("auth.jwt.jwks_url", format!("http://{dead}/keys"))
        .set("auth.forward.url", format!("http://{dead}/auth"));
    let broker = Broker::start_ready(options).await;
    let mut feed = Feed::open(&broker).await;
    http::exchange_head(broker.address(), "/api/workspaces/acme/events?errors=http").await;
    let has = |overview: &Value, check: &str| {
        overview["warnings"].as_array().unwrap().iter().any(|warning| warning["check"] == check)
    };
    feed.overview("both are reported", |overview| {
        has(overview, "keys for tokens") && has(overview, "app at auth.forward.url")
    })
    .await;
}

#[tokio::test]
async fn missing_right_at_redis_has_a_warning() {
    let users = vec!["node on >secret ~* &* +@all -expire".to_owned()];
    let server = RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await;
    let options = BrokerOptions::redis(&server).set("admin.token", TOKEN);
    let broker = Broker::start_ready(options.set("redis.url", server.url_as("node", "secret"))).await;
    let mut feed = Feed::open(&broker).await;
    let overview = feed
        .overview("the right is named", |overview| {
            let warnings = overview["warnings"].as_array().unwrap();
            warnings.iter().any(|warning| warning["check"] == "publishing durably")
        })
        .await;
    assert!(!overview.to_string().contains("secret"), "{overview}");
}
