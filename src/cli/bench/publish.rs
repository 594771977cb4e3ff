//! Publishing at a rate: a thread that keeps the time, and lanes that send.
//!
//! Each event is due at a moment that is fixed before the run begins, and carries it. However long a lane is held up, the
//! moments of the events behind stay what they are, so that what they had to wait counts as latency. All events of a
//! workspace go through one lane, in order.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::CreationError;
use http::{Method, StatusCode};
use http_body_util::Full;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use super::super::client::{Broker, json_body};
use super::crowd::Scene;
use crate::bench::latency::{Durations, nanoseconds};
use crate::bench::tag::Tag;
use crate::bus::redis::bulk::{BulkPublisher, BulkWay};
use crate::config::Config;

/// Requests over HTTP at a time, each by a lane of its own.
const LANES: usize = 32;

/// Events that may wait for a lane. Beyond it the thread that keeps the time waits too; the moments stay what they are.
const QUEUE: usize = 16 * 1024;

/// Events that are sent together, at most.
const BATCH: usize = 128;

/// How much later than the last event is due events are still sent.
const OVERTIME: Duration = Duration::from_secs(5);

/// The way of events to the broker.
pub(super) enum Outlet {
    /// Through the broker.
    Http(Arc<Broker>),
    /// Through the bus, by a connection that is made for it.
    Bus(Box<Config>, BulkWay),
}

/// What came of publishing.
#[derive(Debug)]
pub(super) struct Published {
    /// How many events each workspace has, those that failed included.
    pub(super) counts: Vec<u64>,
    /// The numbers of those that failed or were not sent, in order.
    pub(super) failed: BTreeMap<usize, Vec<u64>>,
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
    /// From sending to the answer.
    pub(super) answer: Durations,
}

/// Publishing under way.
pub(super) struct Publishing {
    /// Events that were taken so far.
    pub(super) taken: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<Published>>,
    clock: JoinHandle<()>,
}

/// What a lane needs.
struct Lane {
    scene: Arc<Scene>,
    events: Receiver<Tag>,
    /// No event is sent after this, on the run's clock.
    last_ns: u64,
    taken: Arc<AtomicU64>,
    published: Published,
}

impl Published {
    fn new() -> Result<Self, CreationError> {
        Ok(Self {
            counts: Vec::new(),
            failed: BTreeMap::new(),
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

    /// Adds what another lane did; no workspace has two lanes.
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

impl Publishing {
    /// Begins to publish: the first event is due at `start` on the run's clock.
    pub(super) fn start(scene: &Arc<Scene>, outlet: Outlet, start: Duration) -> io::Result<Self> {
        let lanes =
            if matches!(outlet, Outlet::Http(_)) { LANES.min(scene.plan.workspaces.len()) } else { 1 };
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..lanes).map(|_| channel(QUEUE)).unzip();
        let taken = Arc::new(AtomicU64::new(0));
        let (counter, of_clock, of_lanes) = (Arc::clone(&taken), Arc::clone(scene), Arc::clone(scene));
        let thread = std::thread::Builder::new()
            .name("publish".to_owned())
            .spawn(move || send(&of_lanes, &outlet, receivers, start, &counter))?;
        let clock = std::thread::Builder::new()
            .name("clock".to_owned())
            .spawn(move || keep_time(&of_clock, &senders, start))?;
        Ok(Self { taken, thread, clock })
    }

    /// Whether all events were sent or given up.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    pub(super) fn join(self) -> io::Result<Published> {
        let broke_down = |_| io::Error::other("publishing broke down");
        let published = self.thread.join().map_err(broke_down)?;
        self.clock.join().map_err(broke_down)?;
        published
    }
}

/// Hands each event to its lane when it is due. On a thread of its own, because timers of a runtime are a millisecond
/// coarse.
fn keep_time(scene: &Scene, lanes: &[Sender<Tag>], start: Duration) {
    let plan = &scene.plan;
    let workspaces = plan.workspaces.len() as u64;
    for number in 0..plan.events() {
        let due = start + Duration::from_secs_f64(number as f64 / plan.rate);
        let now = scene.clock.elapsed();
        if due > now {
            std::thread::sleep(due - now);
        }
        let workspace = u32::try_from(number % workspaces).unwrap_or(u32::MAX);
        let tag = Tag { workspace, sequence: number / workspaces, due_ns: nanoseconds(due) };
        let Some(lane) = lanes.get(workspace as usize % lanes.len().max(1)) else { return };
        if lane.blocking_send(tag).is_err() {
            // Publishing has broken down, which it tells itself.
            return;
        }
    }
}

/// The thread of the lanes.
fn send(
    scene: &Arc<Scene>,
    outlet: &Outlet,
    receivers: Vec<Receiver<Tag>>,
    start: Duration,
    taken: &Arc<AtomicU64>,
) -> io::Result<Published> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let last_ns = nanoseconds(start + scene.plan.warm_up + scene.plan.duration + OVERTIME);
    let new = || Published::new().map_err(io::Error::other);
    runtime.block_on(async {
        let mut lanes = JoinSet::new();
        for events in receivers {
            let (scene, taken) = (Arc::clone(scene), Arc::clone(taken));
            let lane = Lane { scene, events, last_ns, taken, published: new()? };
            match outlet {
                Outlet::Http(broker) => drop(lanes.spawn(lane.over_http(Arc::clone(broker)))),
                Outlet::Bus(config, way) => {
                    let bus = BulkPublisher::connect(&config.redis, &config.retention, *way).await;
                    lanes.spawn(lane.over_bus(bus.map_err(io::Error::other)?));
                }
            }
        }
        let mut all = new()?;
        while let Some(lane) = lanes.join_next().await {
            all.add(lane.map_err(|_| io::Error::other("a lane broke down"))?);
        }
        all.counts.resize(scene.plan.workspaces.len(), 0);
        Ok(all)
    })
}

impl Lane {
    async fn over_http(mut self, broker: Arc<Broker>) -> Published {
        let mut waiting = Vec::with_capacity(BATCH);
        while self.events.recv_many(&mut waiting, BATCH).await > 0 {
            let mut by_workspace: BTreeMap<u32, Vec<Tag>> = BTreeMap::new();
            for tag in waiting.drain(..) {
                by_workspace.entry(tag.workspace).or_default().push(tag);
            }
            for mut tags in by_workspace.into_values() {
                let Some(sent) = self.sending(&mut tags) else { continue };
                let answer = self.post(&broker, &tags).await;
                self.answered(sent, &tags, vec![answer; tags.len()]);
            }
        }
        self.published
    }

    /// Publishes events of one workspace: several are those that had to wait, and go together as a batch.
    async fn post(&self, broker: &Broker, tags: &[Tag]) -> Result<(), String> {
        let scene = &self.scene;
        let workspace = tags.first().and_then(|tag| scene.plan.workspaces.get(tag.workspace as usize));
        let payloads: Vec<String> = tags.iter().map(|tag| scene.tagger.payload(*tag)).collect();
        let request = broker
            .events(
                Method::POST,
                workspace.ok_or("no such workspace")?,
                if tags.len() > 1 { "?batch=1" } else { "" },
            )
            .map_err(|_| "the address is none".to_owned())?
            .body(Full::new(Bytes::from(payloads.join("\n"))))
            .map_err(|error| error.to_string())?;
        let response = broker.send(request).await?;
        let status = response.status();
        // The whole answer, so that the connection serves the next one.
        let answer = json_body(response).await?;
        if status == StatusCode::OK {
            return Ok(());
        }
        Err(format!("{status} {}", answer["detail"].as_str().unwrap_or_default()))
    }

    async fn over_bus(mut self, mut bus: BulkPublisher) -> Published {
        let mut tags = Vec::with_capacity(BATCH);
        while self.events.recv_many(&mut tags, BATCH).await > 0 {
            let Some(sent) = self.sending(&mut tags) else { continue };
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

    /// Events are about to be sent. Those that it is too late for are given up; `None` where that is all of them.
    fn sending(&mut self, tags: &mut Vec<Tag>) -> Option<Instant> {
        let now = Instant::now();
        let now_ns = nanoseconds(now.saturating_duration_since(self.scene.clock));
        if now_ns > self.last_ns {
            tags.drain(..).for_each(|tag| self.published.fail(tag, None));
            return None;
        }
        for tag in &*tags {
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
                Err(why) => self.published.fail(*tag, Some(why)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_add_up() {
        let tag = |workspace, sequence| Tag { workspace, sequence, due_ns: 0 };
        let mut sum = Published::new().unwrap();
        let (mut one, mut other) = (Published::new().unwrap(), Published::new().unwrap());
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
