//! Open streams whose right to be open is the app's word: the app is asked again now and then.
//!
//! An app that says no ends the stream. An app that says nothing does not at once, since it is most often being deployed;
//! but after a while without a yes the stream ends too, and its client finds the door as closed as any newcomer does.

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

/// How far the moments are spread, as a share of the interval.
const SPREAD: f64 = 0.2;

/// After this many intervals without an answer that counts a stream ends.
const PATIENCE: u32 = 3;

/// Streams that are being asked about at a time; the requests themselves are bounded by `auth.forward.concurrent`.
const CONCURRENT: usize = 256;

/// Streams that the app let in, in the order in which it is asked about them again.
#[derive(Debug)]
pub struct Recheck {
    forward: ForwardAuth,
    interval: Duration,
    queue: Mutex<RecheckQueue>,
    sooner: Notify,
}

/// A stream that the app let in.
#[derive(Debug)]
pub struct Watched {
    /// The stream.
    pub stream: StreamHandle,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Who the app said it is.
    pub identity: Identity,
    /// What the app was asked with.
    pub auth_request: AuthRequest,
}

#[derive(Debug)]
struct Due {
    at: Instant,
    /// The last yes.
    agreed: Instant,
    watched: Watched,
}

/// Streams by the moment at which the app is asked about them.
#[derive(Debug)]
struct RecheckQueue {
    due: BinaryHeap<Reverse<Due>>,
    /// At this length those that have ended are taken out: else whoever opens and closes streams all the time would fill it
    /// with what it brought to each.
    tidied_at: usize,
}

/// Below this many streams a queue is not worth tidying.
const TIDIED_FROM: usize = 1024;

impl RecheckQueue {
    /// Puts a stream in its place. Answers whether it is the next one. Takes constant time but for tidying, which comes
    /// once in as many calls as there were open streams at the last time.
    fn put(&mut self, stream: Due) -> bool {
        if self.due.len() >= self.tidied_at {
            self.due.retain(|Reverse(due)| due.watched.stream.is_open());
            self.tidied_at = TIDIED_FROM.max(self.due.len() * 2);
            self.due.shrink_to(self.tidied_at);
        }
        let is_next = self.due.peek().is_none_or(|Reverse(next)| stream.at < next.at);
        self.due.push(Reverse(stream));
        is_next
    }
}

impl Default for RecheckQueue {
    fn default() -> Self {
        Self { due: BinaryHeap::new(), tidied_at: TIDIED_FROM }
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
    /// Nothing is watched yet. `interval` is more than zero.
    #[must_use]
    pub fn new(forward: ForwardAuth, interval: Duration) -> Self {
        Self { forward, interval, queue: Mutex::default(), sooner: Notify::new() }
    }

    /// How long a word of the app counts for an open stream.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Has the app asked about a stream again and again, until the stream is gone.
    pub fn watch(&self, watched: Watched) {
        self.put(watched, Instant::now());
    }

    fn put(&self, watched: Watched, agreed: Instant) {
        let at = Instant::now() + spread(self.interval, SPREAD);
        let is_next = self.queue.lock().put(Due { at, agreed, watched });
        if is_next {
            self.sooner.notify_one();
        }
    }

    /// Asks until it is told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut auth_request = JoinSet::new();
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
                Some(_) = auth_request.join_next(), if !auth_request.is_empty() => {}
                () = self.sooner.notified() => {}
                () = wait, if auth_request.len() < CONCURRENT => {
                    if let Some(due) = self.take_due(Instant::now()) {
                        auth_request.spawn(Arc::clone(&self).ask(due));
                    }
                }
            }
        }
    }

    fn take_due(&self, now: Instant) -> Option<Due> {
        let due = &mut self.queue.lock().due;
        while due.peek().is_some_and(|Reverse(next)| next.at <= now) {
            let Reverse(next) = due.pop()?;
            // Most streams have ended by themselves before they are asked about.
            if next.watched.stream.is_open() {
                return Some(next);
            }
        }
        None
    }

    async fn ask(self: Arc<Self>, due: Due) {
        let Due { agreed, watched, .. } = due;
        let outcome =
            self.forward.ask_again(&watched.workspace, Action::Subscribe, &watched.auth_request).await;
        match outcome {
            Ok(decision) if decision.identity.user == watched.identity.user => {
                self.put(watched, Instant::now());
            }
            Err(denial)
                if denial.standing == DenialKind::Passing && agreed.elapsed() < self.interval * PATIENCE =>
            {
                self.put(watched, agreed);
            }
            // No, or no word for too long, or the session is somebody else's by now.
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
    async fn streams_that_have_ended_do_not_pile_up() {
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
        for _ in 0..20 * TIDIED_FROM {
            drop(enter());
        }
        let queue = recheck.queue.lock();
        assert!(queue.due.len() <= TIDIED_FROM && queue.due.capacity() <= 4 * TIDIED_FROM);
        let watched = queue.due.iter().filter(|Reverse(due)| due.watched.stream.is_open()).count();
        assert_eq!(watched, kept.len(), "whoever is there is still watched");
    }
}
