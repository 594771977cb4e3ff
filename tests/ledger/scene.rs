//! A Redis server, two brokers, publishers that do not stop, and clients that hop between the brokers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use redis::Value;

use super::book::{Book, EntryId};
use super::listener::Listener;
use super::publisher::{Press, Publisher, Settings, Target, Way};
use super::support::{Broker, BrokerOptions, DEADLINE, RedisOptions, RedisServer, eventually};
use super::verdict::Verdict;

/// How long clients may take to have everything, after all is well again.
const CATCH_UP: Duration = Duration::from_secs(40);
/// After this long without reaching all clients, another last event is published: a client that was told by a reset that
/// it missed the former one gets this one.
const LAST_EVENT_PAUSE: Duration = Duration::from_secs(3);

/// How a scene is set up.
#[derive(Debug, Clone)]
pub struct Setting {
    pub workspaces: usize,
    /// In each workspace.
    pub clients: usize,
    pub publishers: Settings,
    pub append_only: bool,
    /// Keys of the brokers' configuration beside those that keep a test short.
    pub brokers: Vec<(&'static str, String)>,
}

impl Default for Setting {
    fn default() -> Self {
        let publishers = Settings {
            ways: Way::ALL.to_vec(),
            pace: Duration::from_millis(20),
            padding: 100,
            retention: 100_000,
            waits: false,
        };
        Self { workspaces: 2, clients: 3, publishers, append_only: false, brokers: Vec::new() }
    }
}

impl Setting {
    /// What is set for brokers, on top of how they find their bus.
    fn of_brokers(&self, options: BrokerOptions) -> BrokerOptions {
        let options = options
            .set("sse.retry_ms", 200)
            .set("sse.heartbeat_seconds", 1)
            .set("redis.confirm_seconds", 2)
            .set("redis.backoff_max_seconds", 1)
            .set("server.drain_delay_seconds", 0.2)
            .set("server.drain_seconds", 1)
            .set("ring.events", 200)
            .set("retention.events", self.publishers.retention)
            .set("retention.bytes", 1_000_000_000)
            .set("embedded.log_bytes", 1_000_000_000);
        self.brokers.iter().fold(options, |options, (key, value)| options.set(key, value))
    }
}

/// Everything of one scenario but the server.
#[derive(Debug)]
pub struct Scene {
    name: String,
    opened: Instant,
    pub listeners: Vec<Listener>,
    pub publishers: Vec<Publisher>,
    pub brokers: Vec<Broker>,
    target: Target,
}

impl Scene {
    /// Starts a server and all that stands on it, and waits until every client was greeted.
    pub async fn open(name: &str, setting: Setting) -> (RedisServer, Self) {
        let options = RedisOptions { append_only: setting.append_only, ..RedisOptions::default() };
        let redis = RedisServer::start_with(options).await;
        let scene = Self::open_on(name, setting, BrokerOptions::redis(&redis), &redis.url()).await;
        (redis, scene)
    }

    /// The same on a server that stands already: brokers that know how to find it, and its address for publishers.
    pub async fn open_on(name: &str, setting: Setting, options: BrokerOptions, url: &str) -> Self {
        let options = setting.of_brokers(options);
        let brokers = vec![Broker::start_ready(options.clone()).await, Broker::start_ready(options).await];
        Self::begin(name, &setting, brokers, url).await
    }

    /// A scene of one broker on the bus of its own.
    pub async fn open_embedded(name: &str, setting: Setting) -> Self {
        let broker = Broker::start_ready(setting.of_brokers(BrokerOptions::embedded())).await;
        let url = format!("redis://{}", broker.embedded());
        Self::begin(name, &setting, vec![broker], &url).await
    }

    async fn begin(name: &str, setting: &Setting, brokers: Vec<Broker>, url: &str) -> Self {
        let addresses: Vec<_> = brokers.iter().map(Broker::address).collect();
        let opened = Instant::now();
        let redis_url = std::sync::Arc::new(parking_lot::Mutex::new(url.to_owned()));
        let target = Target { brokers: addresses.clone(), redis: redis_url };
        let mut scene = Self {
            name: name.to_owned(),
            opened,
            listeners: Vec::new(),
            publishers: Vec::new(),
            brokers,
            target,
        };
        for workspace in (0..setting.workspaces).map(|number| format!("ledger-{number}")) {
            for client in 0..setting.clients {
                let mut addresses = addresses.clone();
                let first = client % addresses.len();
                addresses.rotate_left(first);
                let name = format!("client {client}");
                scene.listeners.push(Listener::open(&name, &workspace, addresses, opened));
            }
            let settings = setting.publishers.clone();
            scene.publishers.push(Publisher::start(&workspace, scene.target.clone(), settings, opened));
        }
        for listener in &scene.listeners {
            listener.greeted().await;
        }
        scene
    }

    /// Waits until each workspace has so many more acknowledged events.
    pub async fn more(&self, count: usize) {
        self.more_within(count, DEADLINE * 2).await;
    }

    /// The same with patience of its own: how long nothing may be acknowledged. A machine that is slow, and gets on, has all the time
    /// that it needs.
    pub async fn more_within(&self, count: usize, within: Duration) {
        let wanted: Vec<_> =
            self.publishers.iter().map(|publisher| publisher.acknowledged() + count).collect();
        let missing = || -> usize {
            let publishers = self.publishers.iter().zip(&wanted);
            publishers.map(|(publisher, wanted)| wanted.saturating_sub(publisher.acknowledged())).sum()
        };
        let mut left = missing();
        while left > 0 {
            let before = left;
            eventually("another event is acknowledged", within, async || {
                left = missing();
                left < before
            })
            .await;
        }
    }

    /// Waits until each client has the last event that is acknowledged by now, or a later one. Publishing goes on.
    ///
    /// Who was only greeted may stand before the first event of its log, where no other node can prove anything; and a slow
    /// machine may show an event to a client long after it was acknowledged.
    pub async fn delivered(&self) {
        let mut wanted = Vec::new();
        for publisher in &self.publishers {
            let of_workspace =
                self.listeners.iter().filter(|listener| listener.workspace() == publisher.workspace());
            let last = publisher.last_acknowledged();
            wanted.extend(of_workspace.map(|listener| (listener, last)));
        }
        eventually("clients have what is acknowledged", DEADLINE * 2, async || {
            wanted.iter().all(|(listener, last)| listener.is_at(*last))
        })
        .await;
    }

    /// Has publishers that write to the server itself go to another one.
    pub fn move_publishers(&self, url: &str) {
        url.clone_into(&mut self.target.redis.lock());
    }

    /// Ends publishing, waits until all clients have the last event, and prints and judges what was written down. Fails
    /// the test unless the ledger is clean.
    pub async fn close(self) -> Verdict {
        self.close_with(None).await
    }

    /// The same where a server has lost entries that it had acknowledged: `redis` holds what there is now. Its logs must
    /// not have been trimmed. See [`Book::survivors`].
    pub async fn close_after_loss(self, redis: &RedisServer) -> Verdict {
        self.close_with(Some(redis)).await
    }

    async fn close_with(self, forgetful: Option<&RedisServer>) -> Verdict {
        let Self { name, opened, listeners, publishers, brokers, target: _ } = self;
        let mut presses = Vec::new();
        for publisher in publishers {
            presses.push(publisher.stop().await);
        }
        for listener in &listeners {
            listener.come_back();
        }
        for press in &mut presses {
            let clients: Vec<_> =
                listeners.iter().filter(|listener| listener.workspace() == press.workspace).collect();
            reach_all(press, &clients).await;
        }
        let mut books = Vec::new();
        for press in &presses {
            let of_workspace = listeners.iter().filter(|listener| listener.workspace() == press.workspace);
            let survivors = match forgetful {
                Some(redis) => Some(survivors(redis, &press.workspace).await),
                None => None,
            };
            books.push(Book {
                attempts: press.attempts(),
                diaries: of_workspace.map(Listener::diary).collect(),
                survivors,
            });
        }
        let verdict = Verdict::of(&books);
        print(&format!("ledger: {name}: {verdict}; {:.1} s", opened.elapsed().as_secs_f64()));
        assert!(verdict.is_clean(), "{verdict}\n{}", verdict.problems.join("\n"));
        drop(brokers);
        verdict
    }
}

/// Publishes last events until every client of the workspace has one, or the time is over: then the verdict names what
/// is missing.
async fn reach_all(press: &mut Press, clients: &[&Listener]) {
    let deadline = Instant::now() + CATCH_UP;
    while Instant::now() < deadline {
        let Some(last) = press.publish().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let pause = Instant::now() + LAST_EVENT_PAUSE;
        while Instant::now() < pause {
            if clients.iter().all(|client| client.is_at(last)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What a log holds, with the numbers in it.
async fn survivors(redis: &RedisServer, workspace: &str) -> BTreeMap<EntryId, u64> {
    type Entry = (String, Vec<(String, String)>);
    let key = format!("workspace:{workspace}");
    let entries: Vec<Entry> = redis.command(&["XRANGE", &key, "-", "+"]).await;
    let numbered = entries.into_iter().filter_map(|(id, fields)| {
        let (_, data) = fields.into_iter().find(|(name, _)| name == "data")?;
        let data: serde_json::Value = serde_json::from_str(&data).ok()?;
        Some((id.parse().expect("an entry id"), data["number"].as_u64()?))
    });
    numbered.collect()
}

/// Prints past the test harness, which keeps back what passing tests print.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A command whose answer does not matter.
pub async fn tell(redis: &RedisServer, words: &[&str]) {
    let _: Value = redis.command(words).await;
}
