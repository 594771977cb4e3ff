//! The clients of a run: some threads, each with a runtime, one buffer and many clients.
//!
//! A client is a task of some hundred bytes without a buffer. All clients of a thread read into one
//! buffer; between two reads a stream keeps only the unfinished part. So a machine that can hold
//! the sockets can hold the clients.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::CreationError;
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

use super::args::Plan;
use super::client::{BenchClient, ClientDone};
use super::pace::Arrivals;
use tidings_bench::latency::{Durations, Latencies, Percentiles};
use tidings_bench::tag::Tagger;

/// The buffer of a thread.
const BUFFER_BYTES: usize = 64 * 1024;

/// Clients of a thread that open their first stream at the same time. Enough keep the server busy;
/// too many overflow a listen queue.
const ENTRANCE: usize = 128;

/// The most different words for ends and failures that are counted apart; a broker has some ten.
const WORDS_MAX: usize = 64;

/// What all clients have in common.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) plan: Plan,
    pub(super) target: SocketAddr,
    /// Zero of the run's clock.
    pub(super) clock: Instant,
    pub(super) tagger: Tagger,
    /// Deliveries to those that read, repetitions left out.
    pub(super) arrivals: Arrivals,
    /// The header with the token.
    pub(super) authorization: Option<HeaderValue>,
    /// A storm begins.
    pub(super) drop_all: CancellationToken,
    /// When it began, on the run's clock.
    pub(super) dropped_at: Mutex<Duration>,
    /// Those that do not read may read what there is.
    pub(super) read_on: CancellationToken,
    /// The run is over.
    pub(super) stop: CancellationToken,
}

/// What the clients of a thread have in common.
pub(super) struct Worker {
    pub(super) scene: Arc<Scene>,
    pub(super) tally: Arc<Mutex<PoolTally>>,
    pub(super) entrance: Arc<Semaphore>,
    pub(super) buffer: RefCell<Vec<u8>>,
}

/// What the clients of a thread have seen so far. The clients that do not read count only as
/// greeted.
#[derive(Debug, Clone)]
pub(super) struct PoolTally {
    /// Clients that have had a `connected` event.
    pub(super) greeted: usize,
    /// When the last of them had its first, on the run's clock.
    pub(super) greeted_at: Duration,
    /// Streams that are open and have had theirs.
    pub(super) open: usize,
    /// Deliveries, repetitions left out.
    pub(super) received: u64,
    /// Events of another workspace, or of no run.
    pub(super) misdelivered: u64,
    pub(super) latencies: Latencies,
    /// Clients that do not read whose streams have ended.
    pub(super) slow_ended: usize,
    /// Clients that were dropped in a storm and have reconnected.
    pub(super) reconnected: usize,
    /// How long they were away.
    pub(super) back: Durations,
    /// Streams that ended, by why.
    pub(super) ended: BTreeMap<String, u64>,
    /// Attempts that failed, by why.
    pub(super) failed: BTreeMap<String, u64>,
    /// A status that will not get better by trying again.
    pub(super) refused: Option<u16>,
}

/// The threads.
#[derive(Debug)]
pub(super) struct ClientPool {
    threads: Vec<JoinHandle<io::Result<Vec<ClientDone>>>>,
    tallies: Vec<Arc<Mutex<PoolTally>>>,
}

impl Scene {
    /// The request for a stream.
    pub(super) fn request(&self, workspace: usize, last_event_id: &str) -> Vec<u8> {
        let Plan { path, workspaces, authority, .. } = &self.plan;
        let Some(workspace) = workspaces.get(workspace) else { return Vec::new() };
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {authority}\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n",
            path.of(workspace)
        )
        .into_bytes();
        let header = |request: &mut Vec<u8>, name: &str, value: &[u8]| {
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\n");
        };
        if let Some(authorization) = &self.authorization {
            header(&mut request, "Authorization: ", authorization.as_bytes());
        }
        // An id with other characters is none of the broker's, and must not become a header of its
        // own.
        if !last_event_id.is_empty() && last_event_id.bytes().all(|byte| byte.is_ascii_graphic()) {
            header(&mut request, "Last-Event-ID: ", last_event_id.as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request
    }
}

impl PoolTally {
    /// Nothing seen yet.
    pub(super) fn new(latencies: Latencies) -> Result<Self, CreationError> {
        Ok(Self {
            greeted: 0,
            greeted_at: Duration::ZERO,
            open: 0,
            received: 0,
            misdelivered: 0,
            latencies,
            slow_ended: 0,
            reconnected: 0,
            back: Durations::new()?,
            ended: BTreeMap::new(),
            failed: BTreeMap::new(),
            refused: None,
        })
    }

    /// A stream ended.
    pub(super) fn end(&mut self, why: &str) {
        count(&mut self.ended, why, 1);
    }

    /// An attempt failed.
    pub(super) fn fail(&mut self, why: &str) {
        count(&mut self.failed, why, 1);
    }

    fn add(&mut self, other: &Self) {
        self.greeted += other.greeted;
        self.greeted_at = self.greeted_at.max(other.greeted_at);
        self.open += other.open;
        self.received += other.received;
        self.misdelivered += other.misdelivered;
        self.latencies.add(&other.latencies);
        self.slow_ended += other.slow_ended;
        self.reconnected += other.reconnected;
        self.back.add(&other.back);
        other.ended.iter().for_each(|(why, number)| count(&mut self.ended, why, *number));
        other.failed.iter().for_each(|(why, number)| count(&mut self.failed, why, *number));
        self.refused = self.refused.or(other.refused);
    }
}

fn count(counts: &mut BTreeMap<String, u64>, why: &str, number: u64) {
    let why = if counts.len() < WORDS_MAX || counts.contains_key(why) { why } else { "other" };
    *counts.entry(why.to_owned()).or_default() += number;
}

impl ClientPool {
    /// Starts the threads, and with them the clients. `tally` is one in which nothing was counted.
    pub(super) fn start(scene: &Arc<Scene>, tally: &PoolTally) -> io::Result<Self> {
        let count = scene.plan.threads;
        let mut client_pool = Self { threads: Vec::with_capacity(count), tallies: Vec::with_capacity(count) };
        for number in 0..count {
            let (scene, tally) = (Arc::clone(scene), Arc::new(Mutex::new(tally.clone())));
            client_pool.tallies.push(Arc::clone(&tally));
            let thread = std::thread::Builder::new().name(format!("clients-{number}"));
            client_pool.threads.push(thread.spawn(move || work(scene, tally, number))?);
        }
        Ok(client_pool)
    }

    /// Latencies count from what is due at this moment of the run's clock on.
    pub(super) fn measure_from(&self, moment: Duration) {
        self.tallies.iter().for_each(|tally| tally.lock().latencies.count_from(moment));
    }

    /// What all clients have seen so far.
    pub(super) fn tally(&self, empty: &PoolTally) -> PoolTally {
        let mut sum = empty.clone();
        self.tallies.iter().for_each(|tally| sum.add(&tally.lock()));
        sum
    }

    /// The number of connected clients, of open streams and of deliveries: cheaper than all.
    pub(super) fn glance(&self) -> (usize, usize, u64) {
        self.tallies.iter().fold((0, 0, 0), |(greeted, open, received), tally| {
            let tally = tally.lock();
            (greeted + tally.greeted, open + tally.open, received + tally.received)
        })
    }

    /// How many of the clients that do not read have lost their streams.
    pub(super) fn slow_ended(&self) -> usize {
        self.tallies.iter().map(|tally| tally.lock().slow_ended).sum()
    }

    /// The latencies of all clients so far, without their course: cheaper than all.
    pub(super) fn latency(&self) -> Percentiles {
        let all = |tally: &Arc<Mutex<PoolTally>>| tally.lock().latencies.all().clone();
        let sum = self.tallies.iter().map(all).reduce(|mut sum, other| {
            sum.add(&other);
            sum
        });
        sum.map(|sum| sum.percentiles()).unwrap_or_default()
    }

    /// A status that will not get better by trying again, if one was seen.
    pub(super) fn refused(&self) -> Option<u16> {
        self.tallies.iter().find_map(|tally| tally.lock().refused)
    }

    /// Waits for the threads, which end when the scene says so.
    pub(super) fn join(self) -> io::Result<Vec<ClientDone>> {
        let mut all = Vec::new();
        for thread in self.threads {
            let done = thread.join().map_err(|_| io::Error::other("a thread of clients broke down"))?;
            all.extend(done?);
        }
        Ok(all)
    }
}

/// One thread: every so-manieth client, until the run is over.
fn work(scene: Arc<Scene>, tally: Arc<Mutex<PoolTally>>, thread: usize) -> io::Result<Vec<ClientDone>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (connections, threads) = (scene.plan.connections, scene.plan.threads);
    let worker = Rc::new(Worker {
        scene,
        tally,
        entrance: Arc::new(Semaphore::new(ENTRANCE)),
        buffer: RefCell::new(vec![0; BUFFER_BYTES]),
    });
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let mut clients = JoinSet::new();
        for number in (thread..connections).step_by(threads) {
            let worker = Rc::clone(&worker);
            clients.spawn_local(async move { BenchClient::new(number, &worker).run(&worker).await });
        }
        let mut all = Vec::new();
        while let Some(done) = clients.join_next().await {
            all.push(done.map_err(|_| io::Error::other("a client broke down"))?);
        }
        Ok(all)
    })
}
