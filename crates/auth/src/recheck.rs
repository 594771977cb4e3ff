//! Repeated authentication of open streams that the app accepted.
//!
//! A stream ends if the app rejects it. Without a response it does not end at once, because most
//! such apps are being deployed. After some intervals without acceptance it ends too, and its
//! client is rejected as a new client is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::forward::{AuthRequest, ForwardAuth};
use super::{Action, DenialKind};
use tidings_event::Identity;
use tidings_event::spread;
use tidings_event::workspace::WorkspaceId;
use tidings_limits::{Ending, StreamHandle};

/// The spread of the checks, as a share of the interval.
const SPREAD: f64 = 0.2;

/// The number of intervals without acceptance after which a stream ends.
const INTERVALS_MAX: u32 = 3;

/// Limits the checks at a time. `auth.forward.concurrent` limits the requests themselves.
const CONCURRENT: usize = 256;

/// Checks open streams that the app accepted, in the order of their next checks.
#[derive(Debug)]
pub struct Recheck {
    forward: ForwardAuth,
    interval: Duration,
    queue: Mutex<RecheckQueue>,
    sooner: Notify,
}

/// A stream that the app accepted.
#[derive(Debug)]
pub struct Watched {
    /// The handle of the stream.
    pub stream: StreamHandle,
    /// The workspace of the stream.
    pub workspace: WorkspaceId,
    /// The identity that the app named.
    pub identity: Identity,
    /// The data for the app.
    pub auth_request: AuthRequest,
}

#[derive(Debug)]
struct Due {
    at: Instant,
    /// The time of the last acceptance.
    accepted: Instant,
    watched: Watched,
}

/// Orders streams by their next checks.
#[derive(Debug)]
struct RecheckQueue {
    due: BinaryHeap<Reverse<Due>>,
    /// At this length the ended streams are removed. Otherwise a client that opens and closes
    /// streams all the time could fill the queue.
    clean_at: usize,
}

/// Below this length, removal of ended streams saves too little memory.
const CLEAN_MIN: usize = 1024;

impl RecheckQueue {
    /// Adds a stream; returns whether it is the next one.
    ///
    /// Takes logarithmic time at most, apart from the rare removal of ended streams.
    fn put(&mut self, stream: Due) -> bool {
        if self.due.len() >= self.clean_at {
            self.due.retain(|Reverse(due)| due.watched.stream.is_open());
            self.clean_at = CLEAN_MIN.max(self.due.len() * 2);
            self.due.shrink_to(self.clean_at);
        }
        let is_next = self.due.peek().is_none_or(|Reverse(next)| stream.at < next.at);
        self.due.push(Reverse(stream));
        is_next
    }
}

impl Default for RecheckQueue {
    fn default() -> Self {
        Self { due: BinaryHeap::new(), clean_at: CLEAN_MIN }
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl Recheck {
    /// Creates a queue without streams. `interval` must be more than zero.
    #[must_use]
    pub fn new(forward: ForwardAuth, interval: Duration) -> Self {
        Self { forward, interval, queue: Mutex::default(), sooner: Notify::new() }
    }

    /// Returns the time for which a decision of the app is valid for an open stream.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Starts repeated checks of a stream, until the stream ends.
    pub fn watch(&self, watched: Watched) {
        self.put(watched, Instant::now());
    }

    fn put(&self, watched: Watched, accepted: Instant) {
        let at = Instant::now() + spread(self.interval, SPREAD);
        let is_next = self.queue.lock().put(Due { at, accepted, watched });
        if is_next {
            self.sooner.notify_one();
        }
    }

    /// Runs the checks until `stop` is cancelled.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut checks = JoinSet::new();
        loop {
            let next = self.queue.lock().due.peek().map(|Reverse(next)| next.at);
            let wait = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = checks.join_next(), if !checks.is_empty() => {}
                () = self.sooner.notified() => {}
                () = wait, if checks.len() < CONCURRENT => {
                    if let Some(due) = self.take_due(Instant::now()) {
                        checks.spawn(Arc::clone(&self).check(due));
                    }
                }
            }
        }
    }

    fn take_due(&self, now: Instant) -> Option<Due> {
        let due = &mut self.queue.lock().due;
        while due.peek().is_some_and(|Reverse(next)| next.at <= now) {
            let Reverse(next) = due.pop()?;
            // Most streams have ended before their check.
            if next.watched.stream.is_open() {
                return Some(next);
            }
        }
        None
    }

    async fn check(self: Arc<Self>, due: Due) {
        let Due { accepted, watched, .. } = due;
        let outcome =
            self.forward.ask_again(&watched.workspace, Action::Subscribe, &watched.auth_request).await;
        match outcome {
            Ok(decision) if decision.identity.user == watched.identity.user => {
                self.put(watched, Instant::now());
            }
            Err(denial)
                if denial.kind == DenialKind::Passing
                    && accepted.elapsed() < self.interval * INTERVALS_MAX =>
            {
                self.put(watched, accepted);
            }
            // The app rejected the stream, gave no response for too long, or names another user
            // now.
            _ => watched.stream.end(Ending::Unauthorized),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::section;
    use tidings_event::NodeId;
    use tidings_limits::{Candidate, StreamGuard, StreamLimits, StreamRegistry};
    use tidings_metrics::ForwardMetrics;

    #[tokio::test]
    async fn ended_streams_do_not_accumulate() {
        let forward = ForwardAuth::new(&section("auth.forward", &[]), ForwardMetrics::default()).unwrap();
        let recheck = Recheck::new(forward.clone(), Duration::from_secs(300));
        let open = Arc::new(StreamRegistry::new(NodeId::random(), StreamLimits::default()));
        let workspace = WorkspaceId::parse("acme").unwrap();
        let enter = || -> StreamGuard {
            let identity = Identity::default();
            let stream_guard = open.register(Candidate { workspace: workspace.clone(), identity }).unwrap();
            let auth_request =
                forward.auth_request(&http::HeaderMap::new(), [127, 0, 0, 1].into(), "http", None, "/");
            let (workspace, identity) = (workspace.clone(), Identity::default());
            recheck.watch(Watched { stream: stream_guard.handle(), workspace, identity, auth_request });
            stream_guard
        };
        let kept: Vec<StreamGuard> = (0..100).map(|_| enter()).collect();
        for _ in 0..20 * CLEAN_MIN {
            drop(enter());
        }
        let queue = recheck.queue.lock();
        assert!(queue.due.len() <= CLEAN_MIN && queue.due.capacity() <= 4 * CLEAN_MIN);
        let watched = queue.due.iter().filter(|Reverse(due)| due.watched.stream.is_open()).count();
        assert_eq!(watched, kept.len(), "open streams stay in the queue");
    }
}
