//! Publishing: a thread that says when, and workers that send. All events of a workspace go through
//! one worker, in order.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::CreationError;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinSet;

use super::super::client::{Broker, json_body};
use super::client_pool::Scene;
use super::pace;
use crate::config::Config;
use tidings_bench::latency::{Durations, nanoseconds};
use tidings_bench::tag::Tag;
use tidings_bus::redis::bulk::{BulkPublisher, BulkWay};

/// Requests over HTTP at a time, each by its own worker.
const LANES: usize = 32;

/// Events that may wait for a worker. Beyond it the thread of the clock waits too; the due moments
/// do not move.
const QUEUE: usize = 16 * 1024;

/// Events that are sent together, at most.
const BATCH: usize = 128;

/// How much later than the last event is due events are still sent.
const OVERTIME: Duration = Duration::from_secs(5);

/// The way of events to the broker.
pub(super) enum Outlet {
    /// Over HTTP: through the broker, or to the URL of the plan.
    Http(Arc<Broker>),
    /// Through the bus, by a connection that is made for it.
    Bus(Box<Config>, BulkWay),
}

/// The result of publishing.
#[derive(Debug)]
pub(super) struct PublishedEvent {
    /// How many events each workspace has, those that failed included.
    pub(super) counts: Vec<u64>,
    /// The numbers of those that failed or were not sent, in order.
    pub(super) failed: BTreeMap<usize, Vec<u64>>,
    /// How long publishing took.
    pub(super) took: Duration,
    /// Events that were taken.
    pub(super) taken: u64,
    /// Events that were refused, or of which it is not known.
    pub(super) refused: u64,
    /// Events that were given up.
    pub(super) unsent: u64,
    /// What was said of the first one that was refused.
    pub(super) first_failure: Option<String>,
    /// How much later than due they were sent.
    pub(super) behind: Durations,
    /// From sending to the response.
    pub(super) answer: Durations,
}

/// Publishing under way.
pub(super) struct PublishRun {
    /// Events that were taken so far.
    pub(super) taken: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<PublishedEvent>>,
    clock: JoinHandle<Duration>,
}

/// What a worker needs.
struct PublishWorker {
    scene: Arc<Scene>,
    /// How many clients are to receive an event of each workspace.
    readers: Arc<Vec<u64>>,
    events: Receiver<Tag>,
    /// No event is sent after this, on the run's clock.
    last_ns: u64,
    taken: Arc<AtomicU64>,
    published: PublishedEvent,
}

impl PublishedEvent {
    fn new() -> Result<Self, CreationError> {
        Ok(Self {
            counts: Vec::new(),
            failed: BTreeMap::new(),
            took: Duration::ZERO,
            taken: 0,
            refused: 0,
            unsent: 0,
            first_failure: None,
            behind: Durations::new()?,
            answer: Durations::new()?,
        })
    }

    fn count(&mut self, tag: Tag) -> usize {
        let workspace = usize::try_from(tag.workspace).unwrap_or(usize::MAX);
        if self.counts.len() <= workspace {
            self.counts.resize(workspace + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(workspace) {
            *count = (*count).max(tag.sequence + 1);
        }
        workspace
    }

    fn fail(&mut self, tag: Tag, why: Option<String>) {
        let workspace = self.count(tag);
        self.failed.entry(workspace).or_default().push(tag.sequence);
        match why {
            Some(why) => {
                self.refused += 1;
                self.first_failure.get_or_insert(why);
            }
            None => self.unsent += 1,
        }
    }

    /// Adds what another worker did; no workspace has two workers.
    fn add(&mut self, other: Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, others) in self.counts.iter_mut().zip(&other.counts) {
            *mine = (*mine).max(*others);
        }
        self.failed.extend(other.failed);
        self.taken += other.taken;
        self.refused += other.refused;
        self.unsent += other.unsent;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.behind.add(&other.behind);
        self.answer.add(&other.answer);
    }
}

impl PublishRun {
    /// Begins to publish: the first event is due at `start` on the run's clock.
    pub(super) fn start(scene: &Arc<Scene>, outlet: Outlet, start: Duration) -> io::Result<Self> {
        let workers =
            if matches!(outlet, Outlet::Http(_)) { LANES.min(scene.plan.workspaces.len()) } else { 1 };
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| channel(QUEUE)).unzip();
        let taken = Arc::new(AtomicU64::new(0));
        let (counter, of_clock, of_workers) = (Arc::clone(&taken), Arc::clone(scene), Arc::clone(scene));
        let thread = std::thread::Builder::new()
            .name("publish".to_owned())
            .spawn(move || send(&of_workers, &outlet, receivers, start, &counter))?;
        let clock = std::thread::Builder::new()
            .name("clock".to_owned())
            .spawn(move || pace::keep(&of_clock, &senders, start))?;
        Ok(Self { taken, thread, clock })
    }

    /// Whether all events were sent or given up.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    pub(super) fn join(self) -> io::Result<PublishedEvent> {
        let broke_down = |_| io::Error::other("publishing broke down");
        let published = self.thread.join().map_err(broke_down)?;
        let took = self.clock.join().map_err(broke_down)?;
        Ok(PublishedEvent { took, ..published? })
    }
}

/// The thread of the workers.
fn send(
    scene: &Arc<Scene>,
    outlet: &Outlet,
    receivers: Vec<Receiver<Tag>>,
    start: Duration,
    taken: &Arc<AtomicU64>,
) -> io::Result<PublishedEvent> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let readers = Arc::new(scene.plan.readers());
    let last_ns = nanoseconds(start + scene.plan.warm_up + scene.plan.duration + OVERTIME);
    let new = || PublishedEvent::new().map_err(io::Error::other);
    runtime.block_on(async {
        let mut workers = JoinSet::new();
        for events in receivers {
            let (scene, taken, readers) = (Arc::clone(scene), Arc::clone(taken), Arc::clone(&readers));
            let worker = PublishWorker { scene, readers, events, last_ns, taken, published: new()? };
            match outlet {
                Outlet::Http(broker) => drop(workers.spawn(worker.over_http(Arc::clone(broker)))),
                Outlet::Bus(config, way) => {
                    let bus = BulkPublisher::connect(&config.redis, &config.retention, *way).await;
                    workers.spawn(worker.over_bus(bus.map_err(io::Error::other)?));
                }
            }
        }
        let mut all = new()?;
        while let Some(worker) = workers.join_next().await {
            all.add(worker.map_err(|_| io::Error::other("a worker broke down"))?);
        }
        all.counts.resize(scene.plan.workspaces.len(), 0);
        Ok(all)
    })
}

impl PublishWorker {
    async fn over_http(mut self, broker: Arc<Broker>) -> PublishedEvent {
        let mut waiting = Vec::with_capacity(BATCH);
        // Only the broker is known to take several at a time.
        let together = if self.scene.plan.publish_url.is_some() { 1 } else { BATCH };
        while self.events.recv_many(&mut waiting, BATCH).await > 0 {
            let mut by_workspace: BTreeMap<u32, Vec<Tag>> = BTreeMap::new();
            for tag in waiting.drain(..) {
                by_workspace.entry(tag.workspace).or_default().push(tag);
            }
            for tags in by_workspace.values().flat_map(|tags| tags.chunks(together)) {
                let Some(sent) = self.sending(tags) else { continue };
                let answer = self.post(&broker, tags).await;
                self.answered(sent, tags, vec![answer; tags.len()]);
            }
        }
        self.published
    }

    /// Publishes events of one workspace: several are those that had to wait, and go together as a
    /// batch.
    async fn post(&self, broker: &Broker, tags: &[Tag]) -> Result<(), String> {
        let plan = &self.scene.plan;
        let workspace = tags.first().and_then(|tag| plan.workspaces.get(tag.workspace as usize));
        let workspace = workspace.ok_or("no such workspace")?;
        let payloads: Vec<String> = tags.iter().map(|tag| self.scene.tagger.payload(*tag)).collect();
        let body = Full::new(Bytes::from(payloads.join("\n")));
        let response = if let Some(url) = &plan.publish_url {
            // Without a token: it is the broker's, and this need not be.
            let url = url.of(workspace);
            let request = Request::post(&url).header(CONTENT_TYPE, "application/json").body(body);
            broker.send_to(&url, request.map_err(|error| error.to_string())?).await?
        } else {
            let query = if tags.len() > 1 { "?batch=1" } else { "" };
            let request = broker.events(Method::POST, workspace, query);
            let request = request.map_err(|_| "the address is none".to_owned())?.body(body);
            broker.send(request.map_err(|error| error.to_string())?).await?
        };
        let status = response.status();
        // The whole response, so that the connection serves the next one.
        let answer = json_body(response).await?;
        if status == StatusCode::OK || plan.publish_url.is_some() && status.is_success() {
            return Ok(());
        }
        Err(format!("{status} {}", answer["detail"].as_str().unwrap_or_default()))
    }

    async fn over_bus(mut self, mut bus: BulkPublisher) -> PublishedEvent {
        let mut tags = Vec::with_capacity(BATCH);
        while self.events.recv_many(&mut tags, BATCH).await > 0 {
            let Some(sent) = self.sending(&tags) else {
                tags.clear();
                continue;
            };
            let scene = Arc::clone(&self.scene);
            let events = tags.iter().filter_map(|tag| {
                Some((scene.plan.workspaces.get(tag.workspace as usize)?, scene.tagger.payload(*tag)))
            });
            let answers = bus.publish(&events.collect::<Vec<_>>()).await;
            self.answered(sent, &tags, answers);
            tags.clear();
        }
        self.published
    }

    /// Events are about to be sent; `None` where it is too late and they are given up.
    fn sending(&mut self, tags: &[Tag]) -> Option<Instant> {
        let now = Instant::now();
        let now_ns = nanoseconds(now.saturating_duration_since(self.scene.clock));
        if now_ns > self.last_ns {
            tags.iter().for_each(|tag| self.fail(*tag, None));
            return None;
        }
        for tag in tags {
            self.published.behind.record(Duration::from_nanos(now_ns.saturating_sub(tag.due_ns)));
        }
        Some(now)
    }

    fn answered(&mut self, sent: Instant, tags: &[Tag], answers: Vec<Result<(), String>>) {
        let waited = sent.elapsed();
        for (tag, answer) in tags.iter().zip(answers) {
            self.published.answer.record(waited);
            match answer {
                Ok(()) => {
                    self.published.count(*tag);
                    self.published.taken += 1;
                    self.taken.fetch_add(1, Ordering::Relaxed);
                }
                Err(why) => self.fail(*tag, Some(why)),
            }
        }
    }

    /// An event was not published, so no client waits for its arrival.
    fn fail(&mut self, tag: Tag, why: Option<String>) {
        self.published.fail(tag, why);
        let readers = self.readers.get(tag.workspace as usize).copied();
        self.scene.arrivals.add(readers.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_add_up() {
        let tag = |workspace, sequence| Tag { workspace, sequence, due_ns: 0 };
        let mut sum = PublishedEvent::new().unwrap();
        let (mut one, mut other) = (PublishedEvent::new().unwrap(), PublishedEvent::new().unwrap());
        one.count(tag(0, 4));
        one.fail(tag(0, 5), Some("first".to_owned()));
        one.fail(tag(0, 6), Some("second".to_owned()));
        other.count(tag(2, 1));
        other.fail(tag(2, 2), None);
        sum.add(one);
        sum.add(other);
        assert_eq!(sum.counts, [7, 0, 3]);
        assert_eq!(sum.failed, BTreeMap::from([(0, vec![5, 6]), (2, vec![2])]));
        assert_eq!((sum.refused, sum.unsent, sum.first_failure.as_deref()), (2, 1, Some("first")));
    }
}
