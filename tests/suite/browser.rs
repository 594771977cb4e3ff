//! A page with a native `EventSource`, in a real browser.

use serde_json::Value;

use crate::support::browser::{Browser, PageServer};
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, eventually, eventually_some};

const WORKSPACE: &str = "demo";

/// The page keeps everything that its `EventSource` reports, in order. Its address has the URL of
/// the stream behind `#`.
const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>Events</title>
<script>
  const seen = [];
  const source = new EventSource(decodeURIComponent(location.hash.slice(1)));
  const keep = (event) => seen.push({ kind: event.type, data: event.data ?? null, id: event.lastEventId ?? null });
  source.onopen = keep;
  source.onmessage = keep;
  source.onerror = keep;
  for (const name of ["tidings.reset", "tidings.reconnect", "CHANNEL_UPDATED"]) {
    source.addEventListener(name, keep);
  }
</script>
"#;

/// A page that is open in a browser.
struct Page {
    browser: Browser,
    server: PageServer,
}

impl Page {
    async fn prepare() -> Self {
        let (browser, server) = tokio::join!(Browser::start(), PageServer::start(PAGE));
        Self { browser, server }
    }

    async fn open(&self, broker: &Broker, query: &str) {
        let stream = format!("http://{}/api/workspaces/{WORKSPACE}/events{query}", broker.address());
        self.browser.open(&format!("{}/#{stream}", self.server.origin())).await;
    }

    async fn seen(&self) -> Vec<Value> {
        self.browser.run("return seen").await.as_array().unwrap().clone()
    }

    /// `EventSource.readyState`: 0 is connecting, 1 is open, 2 is closed for good.
    async fn ready_state(&self) -> u64 {
        self.browser.run("return source.readyState").await.as_u64().unwrap()
    }

    /// Waits for a record at or behind a place; returns the place behind it, and the record.
    async fn wait_for(&self, from: usize, what: &str, wanted: impl Fn(&Value) -> bool) -> (usize, Value) {
        eventually_some(what, DEADLINE, async || {
            let seen = self.seen().await;
            let place = seen.iter().skip(from).position(&wanted)? + from;
            Some((place + 1, seen[place].clone()))
        })
        .await
    }

    async fn wait_for_connected(&self, from: usize) -> usize {
        let is_connected = |seen: &Value| seen["kind"] == "message" && data(seen)["type"] == "connected";
        self.wait_for(from, "the connected event in onmessage", is_connected).await.0
    }
}

fn data(seen: &Value) -> Value {
    serde_json::from_str(seen["data"].as_str().unwrap_or_default()).unwrap_or_default()
}

#[tokio::test]
async fn a_page_of_another_origin_receives_events() {
    let page = Page::prepare().await;
    let options = BrokerOptions::embedded().set("cors.origins", page.server.origin());
    let broker = Broker::start_ready(options).await;

    page.open(&broker, "").await;
    let place = page.wait_for_connected(0).await;
    let payload = "{\"type\":\"CHANNEL_UPDATED\",\n\"channel\":{\"id\":\"c1\",\"name\":\"größer & älter\"}}";
    let id = broker.publish(WORKSPACE, payload).await;
    let (_, event) = page.wait_for(place, "the event in onmessage", |seen| seen["kind"] == "message").await;
    assert_eq!(event["data"], payload);
    assert_eq!(event["id"], *id);

    page.open(&broker, "?named=1").await;
    page.browser.run("location.reload()").await;
    let place = page.wait_for_connected(0).await;
    broker.publish(WORKSPACE, payload).await;
    let (_, event) = page.wait_for(place, "the named event", |seen| seen["kind"] == "CHANNEL_UPDATED").await;
    assert_eq!(event["data"], payload);
}

#[tokio::test]
async fn no_event_fires_the_connection_handlers_of_a_page() {
    let page = Page::prepare().await;
    let options =
        BrokerOptions::embedded().set("cors.origins", page.server.origin()).set("sse.named", "true");
    let broker = Broker::start_ready(options).await;
    page.open(&broker, "").await;
    let place = page.wait_for_connected(0).await;
    for kind in ["open", "error", "message", "CHANNEL_UPDATED"] {
        broker.publish(WORKSPACE, &format!(r#"{{"type":"{kind}"}}"#)).await;
    }
    page.wait_for(place, "the last", |seen| seen["kind"] == "CHANNEL_UPDATED").await;
    let kinds: Vec<_> = page.seen().await[place..].iter().map(|seen| seen["kind"].clone()).collect();
    assert_eq!(kinds, ["message", "message", "message", "CHANNEL_UPDATED"]);
}

#[tokio::test]
async fn page_of_an_unlisted_origin_is_rejected() {
    let page = Page::prepare().await;
    let options = BrokerOptions::embedded().set("cors.origins", "https://app.example.com");
    let broker = Broker::start_ready(options).await;
    page.open(&broker, "").await;
    eventually("the source is closed for good", DEADLINE, async || page.ready_state().await == 2).await;
    let kinds: Vec<_> = page.seen().await.iter().map(|seen| seen["kind"].clone()).collect();
    assert_eq!(kinds, ["error"]);
}

#[tokio::test]
async fn page_survives_a_restart_and_gets_a_reset() {
    let page = Page::prepare().await;
    let redis = RedisServer::start().await;
    let options =
        BrokerOptions::redis(&redis).set("cors.origins", page.server.origin()).set("sse.retry_ms", 200);
    let mut broker = Broker::start_ready(options).await;
    let channel = format!("workspace:{WORKSPACE}");

    page.open(&broker, "").await;
    let place = page.wait_for_connected(0).await;
    redis.publish(&channel, "before").await;
    let (place, _) = page.wait_for(place, "a live event", |seen| seen["data"] == "before").await;

    broker.kill();
    let (place, _) = page.wait_for(place, "an error", |seen| seen["kind"] == "error").await;
    assert_eq!(page.ready_state().await, 0, "it goes on trying");
    redis.publish(&channel, "missed").await;
    broker.restart().await;

    let is_reset = |seen: &Value| seen["kind"] == "tidings.reset";
    let (_, reset) = page.wait_for(place, "the reset", is_reset).await;
    assert!(data(&reset)["reason"].is_string(), "{reset}");
    let place = page.wait_for_connected(place).await;
    redis.publish(&channel, "after").await;
    page.wait_for(place, "an event of the new broker", |seen| seen["data"] == "after").await;
    let missed = page.seen().await.iter().any(|seen| seen["data"] == "missed");
    assert!(!missed, "nobody could have told the page");
}

#[tokio::test]
async fn page_survives_outages_and_gives_up_after_a_final_rejection() {
    let page = Page::prepare().await;
    let redis = RedisServer::start().await;
    let options = BrokerOptions::redis(&redis)
        .set("cors.origins", page.server.origin())
        .set("sse.retry_ms", 200)
        .set("limits.connections_per_workspace", 1);
    let broker = Broker::start_ready(options).await;
    let first = broker.connect(WORKSPACE).await;

    page.open(&broker, "").await;
    let is_reconnect = |seen: &Value| seen["kind"] == "tidings.reconnect";
    let (place, refusal) = page.wait_for(0, "the refusal", is_reconnect).await;
    assert_eq!(data(&refusal)["reason"], "overloaded");
    drop(first);
    let place = page.wait_for_connected(place).await;

    let order = r#"{"disconnect":{"workspace":"demo","for":60}}"#;
    assert_eq!(redis.publish("tidings:control", order).await, 1);
    let (_, last) = page.wait_for(place, "the end", is_reconnect).await;
    assert_eq!(data(&last)["reason"], "disconnected");
    eventually("the source is closed for good", DEADLINE, async || page.ready_state().await == 2).await;
}
