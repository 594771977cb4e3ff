//! The reads of logs that the hub needs. The hub does no I/O: a task takes the requests from here
//! and returns the results to [`Hub::answer`](super::Hub::answer).

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::pages::Pages;
use tidings_event::log::Span;
use tidings_event::workspace::WorkspaceId;

/// One of this many reads is for resuming clients, if there is one.
const SHARE: usize = 4;

/// The number of clients that are tried for one whose page fits.
const TRIED: usize = 8;

/// Names a client whose reads take turns with those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReaderId(u64);

impl ReaderId {
    /// The client that `key` names. Two clients with the same 64-bit hash share their turns.
    #[must_use]
    pub fn of(key: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// A request to read a part of a workspace's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRead {
    /// The workspace of the log.
    pub workspace: WorkspaceId,
    /// The part.
    pub span: Span,
    /// The pause before the read.
    pub pause: Duration,
    /// The generation of the workspace on this node that made the request. A result for an earlier
    /// one is older than the subscription of the current one.
    pub(super) generation: u64,
    /// The origin of the request.
    pub(super) origin: ReadOrigin,
}

impl LogRead {
    /// Whether the page can have events that the node does not know yet.
    #[must_use]
    pub fn brings_new_events(&self) -> bool {
        let is_of_workspace = matches!(self.origin, ReadOrigin::Workspace(_));
        is_of_workspace && matches!(self.span, Span::After { .. } | Span::Oldest)
    }
}

/// The origin of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadOrigin {
    /// The workspace itself, to catch up. The id distinguishes a result that is still needed from
    /// an outdated one.
    Workspace(u64),
    /// Resuming subscribers.
    Replay {
        /// The first client that needs the page; all unknown clients count as one.
        reader: Option<ReaderId>,
    },
    /// The workspace, after its subscription was confirmed: it looks for a new mark of live events.
    Look {
        /// The number of the look.
        number: u64,
    },
}

/// Requests in order. A workspace has one at a time for itself, and a bounded number for resuming
/// subscribers.
#[derive(Debug)]
pub struct ReadQueue {
    requests: Mutex<ReadRequests>,
    added: Notify,
    pages: Arc<Pages>,
}

#[derive(Debug, Default)]
struct ReadRequests {
    /// Connected subscribers wait for these.
    workspace_reads: VecDeque<LogRead>,
    /// Looks at marks, which bring no page.
    looks: VecDeque<LogRead>,
    /// Resuming clients wait for these.
    replay_reads: Turns,
    /// The number of workspace reads taken since the last other one.
    in_row: usize,
}

/// Requests of clients that take turns.
#[derive(Debug, Default)]
struct Turns {
    /// The clients with requests, the next one in front.
    readers: VecDeque<Option<ReaderId>>,
    requests: HashMap<Option<ReaderId>, VecDeque<LogRead>>,
}

impl Turns {
    fn push(&mut self, reader: Option<ReaderId>, read: LogRead) {
        let requests = self.requests.entry(reader).or_default();
        if requests.is_empty() {
            self.readers.push_back(reader);
        }
        requests.push_back(read);
    }

    /// Takes the next request whose page fits.
    fn take(&mut self, mut fits: impl FnMut(Option<ReaderId>) -> bool) -> Option<LogRead> {
        for _ in 0..self.readers.len().min(TRIED) {
            let reader = self.readers.pop_front()?;
            let read = if fits(reader) { self.requests.get_mut(&reader)?.pop_front() } else { None };
            if self.requests.get(&reader).is_some_and(VecDeque::is_empty) {
                self.requests.remove(&reader);
            } else {
                self.readers.push_back(reader);
            }
            if read.is_some() {
                return read;
            }
        }
        None
    }
}

impl ReadQueue {
    pub(super) fn new(pages: Arc<Pages>) -> Self {
        Self { requests: Mutex::default(), added: Notify::new(), pages }
    }

    pub(super) fn push(&self, read: LogRead) {
        let mut requests = self.requests.lock();
        match read.origin {
            ReadOrigin::Workspace(_) => requests.workspace_reads.push_back(read),
            ReadOrigin::Look { .. } => requests.looks.push_back(read),
            ReadOrigin::Replay { reader } => requests.replay_reads.push(reader, read),
        }
        drop(requests);
        self.added.notify_one();
    }

    /// Takes the next request without waiting. Reads that connected subscribers wait for come
    /// first. Each [`SHARE`]th read is for resuming clients, so workspaces that read without pause
    /// delay no client. Resuming clients take turns, and wait while no page fits.
    pub fn take(&self) -> Option<LogRead> {
        let mut requests = self.requests.lock();
        if requests.in_row < SHARE - 1
            && let Some(read) = requests.workspace_reads.pop_front()
        {
            requests.in_row += 1;
            return Some(read);
        }
        requests.in_row = 0;
        let now = Instant::now();
        let read = requests.looks.pop_front();
        let read = read.or_else(|| requests.replay_reads.take(|reader| self.pages.begin(reader, now)));
        read.or_else(|| requests.workspace_reads.pop_front())
    }

    /// Notes that a read for a client has ended or memory was freed, so a page may fit.
    pub(super) fn note_freed(&self) {
        if !self.requests.lock().replay_reads.readers.is_empty() {
            self.added.notify_one();
        }
    }

    /// Waits for the next request. Cancellation safe; for one waiter.
    pub async fn next(&self) -> LogRead {
        loop {
            if let Some(read) = self.take() {
                return read;
            }
            self.added.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(origin: ReadOrigin) -> LogRead {
        let workspace = WorkspaceId::parse("acme").unwrap();
        LogRead { workspace, span: Span::Head, pause: Duration::ZERO, generation: 0, origin }
    }

    #[test]
    fn workspaces_that_read_without_end_hold_up_no_client() {
        let pages = Pages::new(prometheus_client::metrics::gauge::Gauge::default(), 1 << 26, 1 << 20);
        let reads = ReadQueue::new(Arc::new(pages));
        let replay = ReadOrigin::Replay { reader: None };
        (0..100).for_each(|read_id| reads.push(read(ReadOrigin::Workspace(read_id))));
        reads.push(read(replay));
        let before = std::iter::from_fn(|| reads.take()).take_while(|read| read.origin != replay);
        assert_eq!(before.count(), SHARE - 1);
        assert_eq!(std::iter::from_fn(|| reads.take()).count(), 100 - (SHARE - 1));
    }
}
