//! A Redis server, brokers, publishers that do not stop, and clients that hop between the brokers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;

use redis::Value;

use super::client::{Habits, LedgerClient, Route};
use super::loss::Forgetful;
use super::publisher::{FinalPublisher, LiveShare, Publisher, Settings, Target, Way};
use super::records::{Kind, Moment, Records};
use super::verdict::Verdict;
use crate::{Broker, BrokerOptions, DEADLINE, RedisCluster, RedisOptions, RedisServer, eventually};

/// How long clients may take to have everything, after all is well again.
const CATCH_UP: Duration = Duration::from_secs(40);
/// After this time without reaching all clients, another last event is published. A client that
/// missed the former one, and got a reset, gets this one.
const LAST_EVENT_PAUSE: Duration = Duration::from_secs(3);

/// How long a late reset may take.
const LATE_RESETS: Duration = Duration::from_secs(8);
/// How long a broker may have had messages in its sockets when it is killed.
const UNREAD: Duration = Duration::from_millis(300);
/// A client with patience leaves a broker of which nothing came for this long. Heartbeats come
/// every second.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which brokers the clients of a workspace go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Each begins at another broker, and goes on to the next.
    Spread,
    /// Each goes to any broker each time.
    Random,
    /// All are on one broker, and go on to the next together: the others do not have the workspace.
    Together,
}

/// Some workspaces beside the durable ones.
#[derive(Debug, Clone)]
pub struct Mixed {
    pub workspaces: usize,
    /// In each workspace.
    pub clients: usize,
    pub go: Clients,
    /// One more client remains on the first broker: that node receives every live event, whatever
    /// happens to the others.
    pub resident: bool,
    /// Clients leave by themselves after a time between these.
    pub stay: Option<Range<Duration>>,
    /// Of each workspace.
    pub publishers: Vec<Settings>,
}

/// How a setup is set up.
#[derive(Debug, Clone)]
pub struct Setting {
    pub workspaces: usize,
    /// In each workspace.
    pub clients: usize,
    /// Each second client leaves by itself after a time between these.
    pub stay: Option<Range<Duration>>,
    pub publishers: Settings,
    pub append_only: bool,
    /// How many brokers there are.
    pub nodes: usize,
    /// Workspaces that carry live events, and durable ones with habits of their own.
    pub mixed: Vec<Mixed>,
    /// See [`Records::may_count_as_mixed`].
    pub may_count_as_mixed: bool,
    /// Keys of the brokers' configuration beside those that keep a test short.
    pub brokers: Vec<(&'static str, String)>,
}

impl Default for Setting {
    fn default() -> Self {
        let publishers = Settings {
            ways: Way::ALL.to_vec(),
            live: LiveShare::None,
            pace: Duration::from_millis(20),
            padding: 100,
            retention: 100_000,
            retention_seconds: 86_400,
            waits: false,
        };
        Self {
            workspaces: 2,
            clients: 3,
            stay: None,
            publishers,
            append_only: false,
            nodes: 2,
            mixed: Vec::new(),
            may_count_as_mixed: false,
            brokers: Vec::new(),
        }
    }
}

impl Settings {
    /// A publisher of a workspace that carries both kinds.
    pub fn mixed(ways: &[Way], live: LiveShare) -> Self {
        let pace = Duration::from_millis(30);
        Self { ways: ways.to_vec(), live, pace, ..Setting::default().publishers }
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
            .set("retention.seconds", self.publishers.retention_seconds)
            // A page of the log has to fit into `redis.reply_bytes`.
            .set("retention.bytes", 32_000_000)
            .set("embedded.log_bytes", 1_000_000_000);
        self.brokers.iter().fold(options, |options, (key, value)| options.set(key, value))
    }
}

/// Everything of one scenario but the server.
#[derive(Debug)]
pub struct Setup {
    name: String,
    opened: Instant,
    pub listeners: Vec<LedgerClient>,
    pub publishers: Vec<Publisher>,
    pub brokers: Vec<Broker>,
    target: Target,
    may_count_as_mixed: bool,
    /// See [`Records::deaths`].
    deaths: Vec<(Moment, Moment)>,
}

impl Setup {
    /// Starts a server and everything on it, and waits until every client is connected.
    pub async fn open(name: &str, setting: Setting) -> (RedisServer, Self) {
        let options = RedisOptions { append_only: setting.append_only, ..RedisOptions::default() };
        let redis = RedisServer::start_with(options).await;
        let setup = Self::open_on(name, setting, BrokerOptions::redis(&redis), &redis.url()).await;
        (redis, setup)
    }

    /// The same on a server that runs already: brokers that know how to find it, and its address
    /// for publishers.
    pub async fn open_on(name: &str, setting: Setting, options: BrokerOptions, url: &str) -> Self {
        let options = vec![options; setting.nodes];
        Self::open_with(name, setting, options, url).await
    }

    /// The same with brokers each of which finds the server in a way of its own.
    pub async fn open_with(name: &str, setting: Setting, options: Vec<BrokerOptions>, url: &str) -> Self {
        let starting = options.into_iter().map(|options| Broker::start_ready(setting.of_brokers(options)));
        let brokers = join_all(starting).await;
        Self::begin(name, &setting, brokers, url).await
    }

    /// The same on a cluster.
    pub async fn open_cluster(name: &str, setting: Setting, cluster: &RedisCluster) -> Self {
        let options = vec![BrokerOptions::cluster(cluster); setting.nodes];
        let starting = options.into_iter().map(|options| Broker::start_ready(setting.of_brokers(options)));
        let brokers = join_all(starting).await;
        let urls = cluster.servers.iter().map(RedisServer::url).collect();
        Self::begin_at(name, &setting, brokers, "", Some(Arc::new(urls))).await
    }

    /// A setup of one broker on the bus of its own.
    pub async fn open_embedded(name: &str, setting: Setting) -> Self {
        let broker = Broker::start_ready(setting.of_brokers(BrokerOptions::embedded())).await;
        let url = format!("redis://{}", broker.embedded());
        Self::begin(name, &setting, vec![broker], &url).await
    }

    async fn begin(name: &str, setting: &Setting, brokers: Vec<Broker>, url: &str) -> Self {
        Self::begin_at(name, setting, brokers, url, None).await
    }

    async fn begin_at(
        name: &str,
        setting: &Setting,
        brokers: Vec<Broker>,
        url: &str,
        cluster: Option<Arc<Vec<String>>>,
    ) -> Self {
        let target = Target {
            brokers: brokers.iter().map(Broker::address).collect(),
            redis: Arc::new(Mutex::new(url.to_owned())),
            cluster,
        };
        let mut setup = Self {
            name: name.to_owned(),
            opened: Instant::now(),
            listeners: Vec::new(),
            publishers: Vec::new(),
            brokers,
            target,
            may_count_as_mixed: setting.may_count_as_mixed,
            deaths: Vec::new(),
        };
        for number in 0..setting.workspaces {
            let workspace = format!("ledger-{number}");
            for client in 0..setting.clients {
                let route = Route::Next(client % setup.brokers.len());
                let stay = setting.stay.clone().filter(|_| client % 2 == 1);
                setup.listen(client, &workspace, Habits { route, patience: None, stay });
            }
            setup.publish(&workspace, &setting.publishers);
        }
        for (group, mixed) in setting.mixed.iter().enumerate() {
            for number in 0..mixed.workspaces {
                setup.open_mixed(&format!("mixed-{group}-{number}"), number, mixed);
            }
        }
        for listener in &setup.listeners {
            listener.greeted().await;
        }
        setup
    }

    fn open_mixed(&mut self, workspace: &str, number: usize, mixed: &Mixed) {
        let nodes = self.brokers.len();
        let current = Arc::new(std::sync::atomic::AtomicUsize::new(number % nodes));
        for client in 0..mixed.clients {
            let route = match mixed.go {
                Clients::Spread => Route::Next((number + client) % nodes),
                Clients::Random => Route::Random,
                Clients::Together => Route::Together(current.clone()),
            };
            let habits = Habits { route, patience: Some(PATIENCE), stay: mixed.stay.clone() };
            self.listen(client, workspace, habits);
        }
        if mixed.resident {
            let habits = Habits { route: Route::Only(0), patience: Some(PATIENCE), stay: None };
            self.listen(mixed.clients, workspace, habits);
        }
        for settings in &mixed.publishers {
            self.publish(workspace, settings);
        }
    }

    fn listen(&mut self, client: usize, workspace: &str, habits: Habits) {
        let (name, brokers) = (format!("client {client}"), self.target.brokers.clone());
        self.listeners.push(LedgerClient::open(&name, workspace, brokers, habits, self.opened));
    }

    fn publish(&mut self, workspace: &str, settings: &Settings) {
        let number = self.publishers.iter().filter(|publisher| publisher.workspace() == workspace).count();
        let (target, settings) = (self.target.clone(), settings.clone());
        self.publishers.push(Publisher::start(workspace, number, target, settings, self.opened));
    }

    /// Waits until each publisher has so many more acknowledged events.
    pub async fn more(&self, count: usize) {
        self.more_within(count, DEADLINE * 2).await;
    }

    /// The same with patience of its own: how long nothing may be acknowledged. A machine that is
    /// slow, and gets on, has all the time that it needs.
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

    /// Waits until each client has the last event that is acknowledged by now, or a later one.
    /// Publishing goes on.
    ///
    /// A client without an event may be before the first event of its log, where no other node can
    /// prove anything. A slow machine may also show an event to a client long after its
    /// acknowledgement.
    pub async fn delivered(&self) {
        let mut wanted = Vec::new();
        for publisher in &self.publishers {
            let of_workspace =
                self.listeners.iter().filter(|listener| listener.workspace() == publisher.workspace());
            let Some(last) = publisher.last_acknowledged() else { continue };
            wanted.extend(of_workspace.map(|listener| (listener, last)));
        }
        eventually("clients have what is acknowledged", DEADLINE * 2, async || {
            wanted.iter().all(|(listener, last)| listener.is_at(*last))
        })
        .await;
    }

    /// Kills a broker. It may take with it what it alone was sent.
    pub fn kill(&mut self, broker: usize) {
        let before = self.opened.elapsed().saturating_sub(UNREAD);
        self.brokers[broker].kill();
        self.deaths.push((before, self.opened.elapsed()));
    }

    /// Has publishers that write to the server itself go to another one.
    pub fn move_publishers(&self, url: &str) {
        url.clone_into(&mut self.target.redis.lock());
    }

    /// Ends publishing, waits until all clients have the last event, and prints and judges what was
    /// written down. Fails the test unless the ledger is clean.
    pub async fn close(self) -> Verdict {
        self.close_with(Forgetful::Nobody).await
    }

    /// The same where a server has lost entries that it had acknowledged: `redis` holds what there
    /// is now. Its logs must not have been trimmed. See [`Records::survivors`].
    pub async fn close_after_loss(self, redis: &RedisServer) -> Verdict {
        self.close_with(Forgetful::Server(redis)).await
    }

    /// The same on a cluster that has lost entries. See [`Self::close_after_loss`].
    pub async fn close_after_loss_of(self, cluster: &RedisCluster) -> Verdict {
        cluster.is_whole().await;
        self.close_with(Forgetful::Cluster(cluster)).await
    }

    async fn close_with(self, forgetful: Forgetful<'_>) -> Verdict {
        let presses = join_all(self.publishers.into_iter().map(Publisher::stop)).await;
        for listener in &self.listeners {
            listener.come_back();
        }
        let mut workspaces: BTreeMap<String, Vec<FinalPublisher>> = BTreeMap::new();
        for publisher in presses {
            workspaces.entry(publisher.workspace.clone()).or_default().push(publisher);
        }
        let listeners = |workspace: &str| -> Vec<&LedgerClient> {
            self.listeners.iter().filter(|listener| listener.workspace() == workspace).collect()
        };
        let reaching = workspaces.iter_mut().map(|(workspace, presses)| {
            let clients = listeners(workspace);
            async move {
                // What the others published is in the log already.
                let are_reached = match presses.first_mut() {
                    Some(publisher) => reach_all(publisher, &clients).await,
                    None => true,
                };
                (!are_reached)
                    .then(|| format!("clients of {workspace} do not get what is published in the end"))
            }
        });
        let unreached: Vec<_> = join_all(reaching).await.into_iter().flatten().collect();
        let mut books = Vec::new();
        for (workspace, presses) in &workspaces {
            let (survivors, histories) =
                (forgetful.survivors(workspace).await, forgetful.histories(workspace));
            let attempts = presses.iter().flat_map(FinalPublisher::attempts).collect();
            let (deaths, may_count_as_mixed) = (self.deaths.clone(), self.may_count_as_mixed);
            let traces = Vec::new();
            books.push(Records { attempts, traces, survivors, histories, deaths, may_count_as_mixed });
        }
        let deadline = Instant::now() + LATE_RESETS;
        let mut verdict = loop {
            for (book, workspace) in books.iter_mut().zip(workspaces.keys()) {
                book.traces = listeners(workspace).into_iter().map(LedgerClient::trace).collect();
            }
            let verdict = Verdict::of(&books);
            if verdict.live.lost == 0 || Instant::now() >= deadline {
                break verdict;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        verdict.problems.extend(unreached);
        print(&format!("ledger: {}: {verdict}; {:.1} s", self.name, self.opened.elapsed().as_secs_f64()));
        if !verdict.is_clean() {
            keep(&self.name, &books);
        }
        assert!(verdict.is_clean(), "{verdict}\n{}", verdict.problems.join("\n"));
        drop(self.brokers);
        verdict
    }
}

/// Publishes last events until every client of the workspace has one, or the time is over. Returns
/// whether all have.
async fn reach_all(publisher: &mut FinalPublisher, clients: &[&LedgerClient]) -> bool {
    let deadline = Instant::now() + CATCH_UP;
    while Instant::now() < deadline {
        let Some(last) = publisher.publish(Kind::Durable).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let pause = Instant::now() + LAST_EVENT_PAUSE;
        while Instant::now() < pause {
            if clients.iter().all(|client| client.is_at(last)) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    false
}

/// Writes what was written down to a file in the directory that `TIDINGS_LEDGER_BOOKS` names, if it
/// names one.
fn keep(setup: &str, books: &[Records]) {
    if let Some(directory) = std::env::var_os("TIDINGS_LEDGER_BOOKS") {
        let lines: String = books.iter().map(Records::lines).collect();
        let file = std::path::Path::new(&directory).join(format!("{setup}.txt"));
        std::fs::write(file, lines).expect("a directory in TIDINGS_LEDGER_BOOKS");
    }
}

/// Prints past the test harness, which keeps back what passing tests print.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A command whose reply does not matter.
pub async fn tell(redis: &RedisServer, words: &[&str]) {
    let _: Value = redis.command(words).await;
}
