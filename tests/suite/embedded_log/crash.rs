//! The process is killed in the middle of publishing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use redis::Cmd;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{connection, log, options, place};
use crate::support::directory::{Directory, repository_file};
use crate::support::{Broker, http};

const WORKSPACE: &str = "workspace:acme";
const EVENTS: &str = "/api/workspaces/acme/events";

/// Events by id, as they were acknowledged or announced.
type Reported = Arc<Mutex<Vec<(String, String)>>>;

/// The ways over the Redis protocol to publish a durable event.
#[derive(Clone, Copy)]
enum Way {
    Function,
    Script,
    Plain,
}

impl Way {
    async fn publish(
        self,
        connection: &mut redis::aio::MultiplexedConnection,
        payload: &str,
    ) -> Option<String> {
        match self {
            Self::Function => Cmd::new()
                .arg(&["FCALL", "tidings_publish", "1", WORKSPACE, payload])
                .query_async(connection)
                .await
                .ok(),
            Self::Script => {
                let script = repository_file("scripts/publish.lua");
                redis::Script::new(&script).key(WORKSPACE).arg(payload).invoke_async(connection).await.ok()
            }
            Self::Plain => {
                let mut recipe = redis::pipe();
                recipe.atomic();
                recipe.cmd("XADD").arg(&[WORKSPACE, "MAXLEN", "~", "1000000", "*", "data", payload]);
                recipe.cmd("PUBLISH").arg(&[WORKSPACE, ""]).ignore();
                let (id,): (String,) = recipe.query_async(connection).await.ok()?;
                Some(id)
            }
        }
    }
}

/// Publishes until the broker is gone, and writes down what was acknowledged.
async fn publish_over_redis(
    broker: &Broker,
    way: Way,
    name: String,
    told: Reported,
) -> impl Future<Output = ()> + use<> {
    let mut connection = connection(broker).await;
    async move {
        for number in 0.. {
            let payload = format!("{name}.{number}");
            let Some(id) = way.publish(&mut connection, &payload).await else { return };
            told.lock().push((id, payload));
        }
    }
}

async fn publish_over_http(address: std::net::SocketAddr, name: String, told: Reported) {
    for number in 0.. {
        let payload = format!("{name}.{number}");
        let Ok(response) = http::try_request(address, "POST", EVENTS, &[], payload.clone()).await else {
            return;
        };
        if response.status != 200 {
            return;
        }
        told.lock().push((response.json()["id"].as_str().unwrap().to_owned(), payload));
    }
}

/// Writes down the announcements on the channel.
async fn listen(broker: &Broker, told: Reported) -> impl Future<Output = ()> + use<> {
    let client = redis::Client::open(format!("redis://{}", broker.embedded())).unwrap();
    let mut channel = client.get_async_pubsub().await.unwrap();
    channel.subscribe(WORKSPACE).await.unwrap();
    async move {
        while let Some(message) = channel.on_message().next().await {
            let message: String = message.get_payload().unwrap();
            if let Some((head, payload)) =
                message.strip_prefix("tidings/1 ").and_then(|rest| rest.split_once('\n'))
            {
                told.lock().push((head.split(' ').next().unwrap().to_owned(), payload.to_owned()));
            }
        }
    }
}

/// An acknowledged or announced event is in the log after a crash.
#[tokio::test]
async fn acknowledged_or_announced_event_survives_a_kill() {
    let directory = Directory::new();
    let bounds = [("retention.events", 1_000_000), ("retention.bytes", 64 << 20)];
    let options =
        bounds.iter().fold(options(&directory, "always"), |options, (key, value)| options.set(key, value));
    let mut broker = Broker::start(options).await;
    let (acknowledged, announced) = (Reported::default(), Reported::default());
    for round in 0..4 {
        let mut running = JoinSet::new();
        running.spawn(listen(&broker, Arc::clone(&announced)).await);
        for (number, way) in [Way::Function, Way::Script, Way::Plain, Way::Function].into_iter().enumerate() {
            let name = format!("redis-{round}-{number}");
            running.spawn(publish_over_redis(&broker, way, name, Arc::clone(&acknowledged)).await);
        }
        for number in 0..3 {
            let name = format!("http-{round}-{number}");
            running.spawn(publish_over_http(broker.address(), name, Arc::clone(&acknowledged)));
        }
        let before = acknowledged.lock().len();
        crate::support::eventually("some were published", crate::support::DEADLINE, async || {
            acknowledged.lock().len() > before + 50
        })
        .await;
        // Not always at the same point of the work.
        sleep(Duration::from_millis(fastrand::u64(..100))).await;
        broker.kill();
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
        broker.restart().await;
        check(&log(&broker, "acme").await, &acknowledged.lock(), &announced.lock());
    }
}

fn check(log: &[(String, String)], acknowledged: &[(String, String)], announced: &[(String, String)]) {
    assert!(log.is_sorted_by(|(one, _), (other, _)| place(one) < place(other)), "ids rise");
    let by_id: std::collections::HashMap<_, _> = log.iter().cloned().collect();
    for (what, told) in [("acknowledged", acknowledged), ("announced", announced)] {
        for (id, payload) in told {
            assert_eq!(by_id.get(id), Some(payload), "{what} as {id}");
        }
    }
    assert!(announced.is_sorted_by(|(one, _), (other, _)| place(one) < place(other)), "announced in order");
    let mut payloads: Vec<_> = log.iter().map(|(_, payload)| payload).collect();
    payloads.sort_unstable();
    assert!(payloads.windows(2).all(|pair| pair[0] != pair[1]), "nothing is there twice");
    // Each publisher's events are in its order, without a hole before its last acknowledged one.
    let mut numbers: std::collections::HashMap<&str, u64> = std::collections::HashMap::new();
    for (_, payload) in log {
        let (name, number) = payload.split_once('.').unwrap();
        let next = numbers.entry(name).or_default();
        assert_eq!(number.parse(), Ok(*next), "{payload}");
        *next += 1;
    }
}

#[tokio::test]
async fn event_acknowledged_a_second_ago_survives_a_kill() {
    let directory = Directory::new();
    let mut broker = Broker::start(options(&directory, "everysec")).await;
    let id = broker.publish("acme", "early").await;
    // Longer than the interval, and than a machine takes that is busy with other tests.
    sleep(Duration::from_secs(4)).await;
    broker.publish("acme", "late").await;
    broker.restart().await;
    let entries = log(&broker, "acme").await;
    assert_eq!(entries[0], (id, "early".to_owned()));
    let next = broker.publish("acme", "next").await;
    let entries = log(&broker, "acme").await;
    assert!(entries.iter().filter(|(id, _)| *id == next).count() == 1 && place(&next) > place(&entries[0].0));
}

#[tokio::test]
async fn an_idempotency_key_outlives_a_kill() {
    let directory = Directory::new();
    let mut broker = Broker::start(options(&directory, "always")).await;
    let publish = async |broker: &Broker| {
        let headers = [("idempotency-key", "order-17")];
        let response = http::request(broker.address(), "POST", EVENTS, &headers, "{}").await;
        response.json()["id"].as_str().unwrap().to_owned()
    };
    let first = publish(&broker).await;
    broker.restart().await;
    assert_eq!(publish(&broker).await, first);
    assert_eq!(log(&broker, "acme").await.len(), 1);
}
